//! From the tokens of one window to its segments and to where the next window begins.

use std::ops::Range;

use crate::audio::decode::SAMPLE_RATE;

/// Samples between two timestamps of the model: 20 ms.
const TIMESTAMP_SAMPLES: usize = SAMPLE_RATE as usize / 50;

/// The segments of a window, and where the next one begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Followed {
    /// What is said, in its order.
    pub segments: Vec<Segment>,
    /// Samples from the start of this window to that of the next.
    pub next_window: usize,
}

/// A piece of text and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its tokens are, its timestamps included.
    pub tokens: Range<usize>,
    /// When it is said, in samples from the start of the window.
    pub time: Range<usize>,
}

/// Follows the predicted timestamps as OpenAI's `transcribe.py` does.
///
/// Two timestamps in a row end one segment and begin the next. Text after the last such pair was cut off by the
/// window's end, so the next window begins there and hears it whole; unless the window ends with a single timestamp,
/// which says that nothing follows.
pub fn follow(tokens: &[usize], first_timestamp: usize, window_samples: usize) -> Followed {
    let is_timestamp = |token: usize| token >= first_timestamp;
    let samples = |token: usize| {
        let samples = token.checked_sub(first_timestamp)? * TIMESTAMP_SAMPLES;
        Some(samples.min(window_samples))
    };
    let segment = |tokens_of: Range<usize>| {
        let of = |token: Option<&usize>| token.and_then(|&token| samples(token));
        let ids = &tokens[tokens_of.clone()];
        let start = of(ids.first()).unwrap_or(0);
        let end = of(ids.last()).unwrap_or(window_samples);
        Segment {
            tokens: tokens_of,
            time: start..end.max(start),
        }
    };
    let pairs = (1..tokens.len())
        .filter(|&i| is_timestamp(tokens[i - 1]) && is_timestamp(tokens[i]))
        .collect::<Vec<_>>();
    let ends_complete = match tokens {
        [.., before, last] => !is_timestamp(*before) && is_timestamp(*last),
        _ => false,
    };
    let Some(&last_pair) = pairs.last() else {
        return Followed {
            segments: vec![segment(0..tokens.len())],
            next_window: window_samples,
        };
    };
    let mut segments = Vec::new();
    let mut start = 0;
    for end in pairs {
        segments.push(segment(start..end));
        start = end;
    }
    if ends_complete {
        segments.push(segment(start..tokens.len()));
        return Followed {
            segments,
            next_window: window_samples,
        };
    }
    let next_window = match samples(tokens[last_pair - 1]) {
        // A pair at the very start would repeat the window for ever.
        None | Some(0) => window_samples,
        Some(samples) => samples,
    };
    Followed {
        segments,
        next_window,
    }
}

impl Followed {
    /// The first sample from which on something seems to be left out: there is a voice and no segment, or a segment that has too
    /// few words for its time. The model leaves out a sentence now and then, one above all that it has just heard.
    ///
    /// `speaks` tells whether somebody speaks in a range of samples, `is_thin` whether a segment has too few words.
    pub fn lost(
        &self,
        speaks: impl Fn(Range<usize>) -> bool,
        is_thin: impl Fn(&Segment) -> bool,
    ) -> Option<usize> {
        let mut from = 0;
        for segment in &self.segments {
            if speaks(from..segment.time.start) {
                return Some(from);
            }
            if is_thin(segment) {
                return Some(segment.time.start);
            }
            from = from.max(segment.time.end);
        }
        speaks(from..self.next_window).then_some(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: usize = 1000;
    const WINDOW: usize = 480_000;

    /// With its time in timestamps.
    fn segment(tokens: Range<usize>, time: Range<usize>) -> Segment {
        let time = time.start * TIMESTAMP_SAMPLES..time.end * TIMESTAMP_SAMPLES;
        Segment { tokens, time }
    }

    #[test]
    fn text_that_the_window_cuts_off_is_left_to_the_next_window() {
        // <0.00> a b <2.00> <2.00> c <5.00> <5.00> d e
        let tokens = [T, 1, 2, T + 100, T + 100, 3, T + 250, T + 250, 4, 5];

        let heard = follow(&tokens, T, WINDOW);

        let segments = vec![segment(0..4, 0..100), segment(4..7, 100..250)];
        let next_window = 5 * 16_000;
        assert_eq!(
            heard,
            Followed {
                segments,
                next_window
            }
        );
    }

    #[test]
    fn a_single_timestamp_at_the_end_says_that_the_window_is_done() {
        let tokens = [T, 1, T + 100, T + 100, 2, T + 250];

        let heard = follow(&tokens, T, WINDOW);

        let segments = [segment(0..3, 0..100), segment(3..6, 100..250)];
        assert_eq!(heard.segments, segments);
        assert_eq!(heard.next_window, WINDOW);
    }

    #[test]
    fn text_without_pairs_is_one_segment() {
        for (tokens, end) in [
            (&[T, 1, 2, T + 100][..], 100),
            (&[T, 1, 2], 1500),
            (&[1], 1500),
            (&[], 1500),
        ] {
            let heard = follow(tokens, T, WINDOW);
            assert_eq!(heard.segments, [segment(0..tokens.len(), 0..end)]);
            assert_eq!(heard.next_window, WINDOW);
        }
    }

    #[test]
    fn a_window_never_begins_where_the_last_one_did() {
        let heard = follow(&[T, T, 1], T, WINDOW);
        assert_eq!(heard.next_window, WINDOW);
    }

    #[test]
    fn the_next_window_begins_no_later_than_the_samples_end() {
        let heard = follow(&[T, 1, T + 1500, T + 1500], T, 16_000);
        assert_eq!(heard.next_window, 16_000);
    }

    #[test]
    fn a_voice_that_no_segment_has_is_lost() {
        // Text from 2 s to 5 s and from 9 s to 12 s.
        let tokens = [T + 100, 1, T + 250, T + 450, 2, T + 600];
        let heard = follow(&tokens, T, WINDOW);
        let voice = |seconds: Range<usize>| {
            move |range: Range<usize>| {
                let voiced = seconds.start * 16_000..seconds.end * 16_000;
                range.start < voiced.end && voiced.start < range.end
            }
        };
        let second = |second: usize| Some(second * 16_000);
        let full = |_: &Segment| false;

        assert_eq!(heard.lost(voice(0..1), full), second(0));
        assert_eq!(heard.lost(voice(2..5), full), None);
        assert_eq!(heard.lost(voice(6..7), full), second(5));
        assert_eq!(heard.lost(voice(20..21), full), second(12));
        assert_eq!(heard.lost(voice(30..31), full), None);
        let thin = |segment: &Segment| segment.time.start > 5 * 16_000;
        assert_eq!(heard.lost(voice(2..5), thin), second(9));
    }
}
