//! Where a recording has a voice in it. Whisper was trained on films with subtitles and makes words of silence; a small network that
//! knows nothing but voices is a second opinion.

use std::collections::VecDeque;
use std::ops::Range;

use earshot::Detector;

/// Samples of a frame of the detector: 16 ms.
const FRAME_SAMPLES: usize = 256;
/// Frames of a second, rounded down.
pub const FRAMES_A_SECOND: usize = 62;
/// The detector calls 0.5 a voice. Less than that is wanted here: a faint voice must not be lost.
const LEAST_SCORE: f32 = 0.3;
/// So much is a voice without any doubt.
const SURE_SCORE: f32 = 0.5;
/// So many such frames are more than the end of a word that a timestamp missed: most of a second.
const LOST_FRAMES: usize = 50;
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
    /// How much of a voice each frame is, 0 to 1.
    scores: VecDeque<f32>,
    /// Samples between the start of the first frame and the first sample that is not forgotten.
    offset: usize,
}

impl Voice {
    /// Lets the detector get used to a recording that begins with these samples.
    pub fn begin(samples: &[f32]) -> Self {
        let mut voice = Self::default();
        voice.hear(&samples[..samples.len().min(FIRST_FRAMES * FRAME_SAMPLES)]);
        voice.scores.clear();
        voice.rest.clear();
        voice
    }

    /// Takes the samples that follow those before.
    pub fn hear(&mut self, samples: &[f32]) {
        for &sample in samples {
            // Files with numbers of more than 1 exist, and the detector wants none.
            self.rest.push(sample.clamp(-1.0, 1.0));
            if self.rest.len() == FRAME_SAMPLES {
                self.scores.push_back(self.detector.predict_f32(&self.rest));
                self.rest.clear();
            }
        }
    }

    /// Whether there may be a voice in the first `samples` samples.
    pub fn may_be_in(&self, samples: usize) -> bool {
        self.frames(0..samples, LEAST_SCORE) > MISTAKEN_FRAMES
    }

    /// Whether somebody says something in these samples.
    pub fn speaks_in(&self, samples: Range<usize>) -> bool {
        self.frames_in(samples) > LOST_FRAMES
    }

    /// In how many frames of these samples somebody speaks.
    pub fn frames_in(&self, samples: Range<usize>) -> usize {
        self.frames(samples, SURE_SCORE)
    }

    fn frames(&self, samples: Range<usize>, least_score: f32) -> usize {
        let first = (self.offset + samples.start) / FRAME_SAMPLES;
        let end = (self.offset + samples.end).div_ceil(FRAME_SAMPLES);
        let scores = self.scores.iter().take(end).skip(first);
        scores.filter(|&&score| score >= least_score).count()
    }

    /// Forgets so many samples from the front.
    pub fn forget(&mut self, samples: usize) {
        self.offset += samples;
        while self.offset >= FRAME_SAMPLES && self.scores.pop_front().is_some() {
            self.offset -= FRAME_SAMPLES;
        }
    }
}
