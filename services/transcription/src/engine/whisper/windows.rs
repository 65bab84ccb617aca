//! From the tokens of one window to its segments and to where the next window begins.

use super::TIMESTAMP_SAMPLES;

/// What was heard in a window.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    /// The tokens of each segment, with its timestamps.
    pub segments: Vec<Vec<usize>>,
    /// Samples from the start of this window to that of the next.
    pub next_window: usize,
}

impl Heard {
    /// Nothing: the next window begins where this one ends.
    pub fn nothing(window_samples: usize) -> Self {
        Self {
            segments: Vec::new(),
            next_window: window_samples,
        }
    }
}

/// Follows the predicted timestamps as OpenAI's `transcribe.py` does.
///
/// Two timestamps in a row end one segment and begin the next. Text after the last such pair was cut off by the
/// window's end, so the next window begins there and hears it whole; unless the window ends with a single timestamp,
/// which says that nothing follows.
pub fn follow(tokens: &[usize], first_timestamp: usize, window_samples: usize) -> Heard {
    let is_timestamp = |token: usize| token >= first_timestamp;
    let pairs = (1..tokens.len())
        .filter(|&i| is_timestamp(tokens[i - 1]) && is_timestamp(tokens[i]))
        .collect::<Vec<_>>();
    let ends_complete = match tokens {
        [.., before, last] => !is_timestamp(*before) && is_timestamp(*last),
        _ => false,
    };
    let Some(&last_pair) = pairs.last() else {
        return Heard {
            segments: vec![tokens.to_vec()],
            next_window: window_samples,
        };
    };
    let mut segments = Vec::new();
    let mut start = 0;
    for end in pairs {
        segments.push(tokens[start..end].to_vec());
        start = end;
    }
    if ends_complete {
        segments.push(tokens[start..].to_vec());
        return Heard {
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
    Heard {
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

        let segments = vec![vec![T, 1, 2, T + 100], vec![T + 100, 3, T + 250]];
        let next_window = 5 * 16_000;
        assert_eq!(
            heard,
            Heard {
                segments,
                next_window
            }
        );
    }

    #[test]
    fn a_single_timestamp_at_the_end_says_that_the_window_is_done() {
        let tokens = [T, 1, T + 100, T + 100, 2, T + 250];

        let heard = follow(&tokens, T, WINDOW);

        assert_eq!(
            heard.segments,
            [vec![T, 1, T + 100], vec![T + 100, 2, T + 250]]
        );
        assert_eq!(heard.next_window, WINDOW);
    }

    #[test]
    fn text_without_pairs_is_one_segment() {
        for tokens in [&[T, 1, 2, T + 100][..], &[T, 1, 2], &[1], &[]] {
            let heard = follow(tokens, T, WINDOW);
            assert_eq!(heard.segments, [tokens]);
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
