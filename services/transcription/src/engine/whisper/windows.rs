//! From the tokens of one window to its segments and to where the next window begins.

use std::ops::Range;

use crate::audio::decode::SAMPLE_RATE;

/// Samples between two timestamps of the model: 20 ms.
const TIMESTAMP_SAMPLES: usize = SAMPLE_RATE as usize / 50;

/// The segments of a window, and where the next one begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Followed {
    /// Where each segment's tokens are, its timestamps included.
    pub segments: Vec<Range<usize>>,
    /// Samples from the start of this window to that of the next.
    pub next_window: usize,
}

/// Follows the predicted timestamps as OpenAI's `transcribe.py` does.
///
/// Two timestamps in a row end one segment and begin the next. Text after the last such pair was cut off by the
/// window's end, so the next window begins there and hears it whole; unless the window ends with a single timestamp,
/// which says that nothing follows.
pub fn follow(tokens: &[usize], first_timestamp: usize, window_samples: usize) -> Followed {
    let is_timestamp = |token: usize| token >= first_timestamp;
    let pairs = (1..tokens.len())
        .filter(|&i| is_timestamp(tokens[i - 1]) && is_timestamp(tokens[i]))
        .collect::<Vec<_>>();
    let ends_complete = match tokens {
        [.., before, last] => !is_timestamp(*before) && is_timestamp(*last),
        _ => false,
    };
    let Some(&last_pair) = pairs.last() else {
        return Followed {
            segments: Vec::from([0..tokens.len()]),
            next_window: window_samples,
        };
    };
    let mut segments = Vec::new();
    let mut start = 0;
    for end in pairs {
        segments.push(start..end);
        start = end;
    }
    if ends_complete {
        segments.push(start..tokens.len());
        return Followed {
            segments,
            next_window: window_samples,
        };
    }
    let timestamp = tokens[last_pair - 1] - first_timestamp;
    let next_window = match timestamp * TIMESTAMP_SAMPLES {
        // A pair at the very start would repeat the window for ever.
        0 => window_samples,
        samples => samples.min(window_samples),
    };
    Followed {
        segments,
        next_window,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: usize = 1000;
    const WINDOW: usize = 480_000;

    #[test]
    fn text_that_the_window_cuts_off_is_left_to_the_next_window() {
        // <0.00> a b <2.00> <2.00> c <5.00> <5.00> d e
        let tokens = [T, 1, 2, T + 100, T + 100, 3, T + 250, T + 250, 4, 5];

        let heard = follow(&tokens, T, WINDOW);

        let segments = vec![0..4, 4..7];
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

        assert_eq!(heard.segments, [0..3, 3..6]);
        assert_eq!(heard.next_window, WINDOW);
    }

    #[test]
    fn text_without_pairs_is_one_segment() {
        for tokens in [&[T, 1, 2, T + 100][..], &[T, 1, 2], &[1], &[]] {
            let heard = follow(tokens, T, WINDOW);
            assert_eq!(heard.segments, Vec::from([0..tokens.len()]));
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
}
