//! Where a recording has a voice in it. Whisper was trained on films with subtitles and makes words of silence; a small network that
//! knows nothing but voices is a second opinion.

use std::collections::VecDeque;

use earshot::Detector;

/// Samples of a frame of the detector: 16 ms.
const FRAME_SAMPLES: usize = 256;
/// The detector calls 0.5 a voice. Less than that is wanted here: a faint voice must not be lost.
const LEAST_SCORE: f32 = 0.3;
/// So many frames in a window may be called a voice by mistake: a tenth of a second.
const MISTAKEN_FRAMES: usize = 6;
/// The detector takes the beginning of any sound for a voice, so it hears so many frames of a recording twice.
const FIRST_FRAMES: usize = 64;

/// Tells where there is a voice, from samples that come in pieces and are forgotten from the front.
#[derive(Default)]
pub struct Voice {
    detector: Detector,
    /// Samples of a frame that is not complete.
    rest: Vec<f32>,
    /// Whether each frame from `first_frame` on has a voice.
    frames: VecDeque<bool>,
    /// Samples between the start of the first frame and the first sample that is not forgotten.
    offset: usize,
}

impl Voice {
    /// Lets the detector get used to a recording that begins with these samples.
    pub fn begin(samples: &[f32]) -> Self {
        let mut voice = Self::default();
        voice.hear(&samples[..samples.len().min(FIRST_FRAMES * FRAME_SAMPLES)]);
        voice.frames.clear();
        voice.rest.clear();
        voice
    }

    /// Takes the samples that follow those before.
    pub fn hear(&mut self, samples: &[f32]) {
        for &sample in samples {
            // Files with numbers of more than 1 exist, and the detector wants none.
            self.rest.push(sample.clamp(-1.0, 1.0));
            if self.rest.len() == FRAME_SAMPLES {
                let score = self.detector.predict_f32(&self.rest);
                self.frames.push_back(score >= LEAST_SCORE);
                self.rest.clear();
            }
        }
    }

    /// Whether there is a voice in the first `samples` samples.
    pub fn is_in(&self, samples: usize) -> bool {
        let frames = (self.offset + samples).div_ceil(FRAME_SAMPLES);
        let voiced = self.frames.iter().take(frames).filter(|&&voiced| voiced);
        voiced.count() > MISTAKEN_FRAMES
    }

    /// Forgets so many samples from the front.
    pub fn forget(&mut self, samples: usize) {
        self.offset += samples;
        while self.offset >= FRAME_SAMPLES && self.frames.pop_front().is_some() {
            self.offset -= FRAME_SAMPLES;
        }
    }
}
