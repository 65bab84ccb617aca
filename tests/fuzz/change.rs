//! Changes of bytes, as a broken disk makes them, and as somebody makes them who knows where numbers are.

use proptest::prelude::*;

/// A change at a place. Places are counted from the start, or from the end if they are negative.
#[derive(Clone, Debug)]
pub enum Change {
    /// Other bytes stand there.
    Put(i64, Vec<u8>),
    /// One bit is turned.
    Turn(i64, u8),
    /// So many bytes are gone.
    Cut(i64, u32),
    /// Further bytes stand there.
    Insert(i64, Vec<u8>),
    /// So many bytes stand there so many times more.
    Repeat(i64, u32, u8),
    /// Bytes from another place stand there.
    Copy(i64, i64, u32),
    /// Everything behind is gone.
    End(i64),
}

/// No changed file is larger.
const MAX_BYTES: usize = 1 << 20;

/// Some changes, most of them where headers are.
pub fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..8)
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (place(), number()).prop_map(|(at, bytes)| Change::Put(at, bytes)),
        4 => (place(), 0..8_u8).prop_map(|(at, bit)| Change::Turn(at, bit)),
        1 => (place(), 0..2000_u32).prop_map(|(at, length)| Change::Cut(at, length)),
        2 => (place(), number()).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (place(), 1..600_u32, 1..40_u8).prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        2 => (place(), place(), 1..3000_u32).prop_map(|(at, from, length)| Change::Copy(at, from, length)),
        1 => any::<i64>().prop_map(Change::End),
    ]
}

fn place() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => 0..64_i64,
        4 => 0..1024_i64,
        2 => -1500..0_i64,
        1 => any::<i64>(),
    ]
}

/// Numbers that programs trip over, of each size and order, and others.
fn number() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::sample::select(vec![
        0,
        1,
        2,
        3,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x00ff_ffff,
        0x0100_0000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffe,
        0xffff_ffff,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        u64::MAX,
    ]);
    let sized = (
        odd,
        prop::sample::select(vec![1_usize, 2, 3, 4, 8]),
        any::<bool>(),
    );
    prop_oneof![
        4 => sized.prop_map(|(number, size, is_big_endian)| {
            let bytes = number.to_be_bytes();
            let mut bytes = bytes[8 - size..].to_vec();
            if !is_big_endian {
                bytes.reverse();
            }
            bytes
        }),
        2 => prop::collection::vec(any::<u8>(), 1..9),
        1 => prop::collection::vec(any::<u8>(), 1..300),
    ]
}

/// The bytes with these changes.
pub fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        apply(&mut bytes, change);
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let length = bytes.len();
    let index = |at: i64| {
        let at = i128::from(at).rem_euclid(i128::try_from(length).unwrap().max(1));
        usize::try_from(at).unwrap()
    };
    let end = |start: usize, count: u32| (start + count as usize).min(length);
    match *change {
        Change::Put(at, ref new) => {
            let at = index(at);
            let count = new.len().min(length - at);
            bytes[at..at + count].copy_from_slice(&new[..count]);
        }
        Change::Turn(at, bit) => {
            if let Some(byte) = bytes.get_mut(index(at)) {
                *byte ^= 1 << bit;
            }
        }
        Change::Cut(at, count) => {
            let at = index(at);
            bytes.drain(at..end(at, count));
        }
        Change::Insert(at, ref new) => {
            let at = index(at);
            bytes.splice(at..at, new.iter().copied());
        }
        Change::Repeat(at, count, times) => {
            let at = index(at);
            let piece = bytes[at..end(at, count)].repeat(times.into());
            bytes.splice(at..at, piece);
        }
        Change::Copy(at, from, count) => {
            let (at, from) = (index(at), index(from));
            let piece = bytes[from..end(from, count)].to_vec();
            let count = piece.len().min(length - at);
            bytes[at..at + count].copy_from_slice(&piece[..count]);
        }
        Change::End(at) => bytes.truncate(index(at)),
    }
}
