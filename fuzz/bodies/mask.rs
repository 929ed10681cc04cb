//! `unmask` against `unmask_naive`. Nothing may be refused.
//!
//! Input: the key (4 bytes), the offset (8 bytes), the place in memory (1 byte), where to cut (1 byte), then
//! the payload.

use arbitrary::Unstructured;
use fanfare::ws::{unmask, unmask_naive};

use super::input::{byte, up_to};

/// More than a vector register holds, so that the payload begins at every place of one.
const PLACES: usize = 64;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let key = [(); 4].map(|()| byte(&mut input));
    // RFC 6455 §5.2: a payload has less than 2^63 bytes; the offset is that of a byte in it.
    let offset = u64::from_be_bytes([(); 8].map(|()| byte(&mut input))) >> 2;
    let place = usize::from(byte(&mut input)) % PLACES;
    let cut = usize::from(byte(&mut input));
    let payload = up_to(&mut input, usize::MAX);

    let mut expected = payload.to_vec();
    unmask_naive(&mut expected, key, offset);
    check_at_place(payload, &expected, key, offset, place);
    check_cut(payload, &expected, key, offset, cut);
}

/// The bytes around the payload stay as they are.
fn check_at_place(payload: &[u8], expected: &[u8], key: [u8; 4], offset: u64, place: usize) {
    let mut bytes = [&vec![0xA5; place], payload, &[0x5A; PLACES]].concat();
    unmask(&mut bytes[place..place + payload.len()], key, offset);
    assert_eq!(bytes, [&vec![0xA5; place], expected, &[0x5A; PLACES]].concat());
    unmask(&mut bytes[place..place + payload.len()], key, offset);
    assert_eq!(&bytes[place..place + payload.len()], payload, "twice is not at all");
}

fn check_cut(payload: &[u8], expected: &[u8], key: [u8; 4], offset: u64, cut: usize) {
    let cut = cut.min(payload.len());
    let mut bytes = payload.to_vec();
    let (front, back) = bytes.split_at_mut(cut);
    unmask(front, key, offset);
    unmask(back, key, offset + cut as u64);
    assert_eq!(bytes, expected, "cut at {cut}");
}
