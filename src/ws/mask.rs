//! The mask of a client's payload, taken off in place.
//!
//! XOR undoes itself, so the same function puts a mask on. Where a key comes from and whose bytes are masked
//! is not known here.

/// Takes the mask off `payload`, whose first byte is byte `offset` of its frame's payload (RFC 6455 §5.3).
///
/// ```text
///   offset      0    1    2    3    4    5    6 ...
///   masked      7f   9f   4d   51   58
///   key         37   fa   21   3d   37   fa   21 ...
///   unmasked    'H'  'e'  'l'  'l'  'o'
/// ```
pub fn unmask(payload: &mut [u8], key: [u8; 4], offset: u64) {
    let key = rotate(key, offset);
    let word = u32::from_ne_bytes(key);
    // One XOR a word and nothing between the words: the compiler makes it one XOR a vector.
    let (words, tail) = payload.as_chunks_mut();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key_byte) in tail.iter_mut().zip(key) {
        *byte ^= key_byte;
    }
}

/// RFC 6455 §5.3 word for word, "j = i MOD 4, transformed-octet-i = original-octet-i XOR
/// masking-key-octet-j": the oracle of [`unmask`], for tests and fuzzing.
pub fn unmask_naive(payload: &mut [u8], key: [u8; 4], offset: u64) {
    for (i, byte) in (offset..).zip(payload) {
        *byte ^= key[(i % 4) as usize];
    }
}

/// The key as it looks from byte `offset` on.
fn rotate(mut key: [u8; 4], offset: u64) -> [u8; 4] {
    key.rotate_left((offset % 4) as usize);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_of_rfc_6455_section_5_7_is_unmasked_and_masked_again() {
        let mut payload = *b"\x7f\x9f\x4d\x51\x58";
        unmask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
        unmask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn a_payload_cut_in_two_is_unmasked_with_the_key_where_it_stopped() {
        let mut payload = *b"\x7f\x9f\x4d\x51\x58";
        let (front, back) = payload.split_at_mut(3);
        unmask(front, [0x37, 0xfa, 0x21, 0x3d], 0);
        unmask(back, [0x37, 0xfa, 0x21, 0x3d], 3);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_length_offset_and_alignment_agrees_with_the_oracle() {
        let source: Vec<u8> = (0..=255).collect();
        let key = [0x80, 0x01, 0xfe, 0x3d];
        for len in 0..=70 {
            for offset in [0, 1, 2, 3, 4, 5, 6, 7, u64::from(u32::MAX), u64::MAX >> 1] {
                for alignment in 0..32 {
                    let mut actual = source.clone();
                    let mut expected = source.clone();
                    unmask(&mut actual[alignment..alignment + len], key, offset);
                    unmask_naive(&mut expected[alignment..alignment + len], key, offset);
                    assert_eq!(actual, expected, "len {len}, offset {offset}, alignment {alignment}");
                }
            }
        }
    }
}
