//! Arbitrary input, for as long as it is asked to: nothing may panic, hang, or be taken that is not right.
