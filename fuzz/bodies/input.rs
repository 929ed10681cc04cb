//! Takes an input apart: single bytes, choices, and cuts. What is made of them is the body's.

use arbitrary::Unstructured;

/// The next byte; zero when the input is used up, so that every input says something.
pub fn byte(input: &mut Unstructured) -> u8 {
    input.arbitrary().expect("an input that is used up gives zeros")
}

/// The next `len` bytes, or what is left of them.
pub fn up_to<'a>(input: &mut Unstructured<'a>, len: usize) -> &'a [u8] {
    input.bytes(len.min(input.len())).expect("no more is asked for than there is")
}

/// One of the choices.
pub fn pick<T: Copy>(input: &mut Unstructured, choices: &[T]) -> T {
    choices[usize::from(byte(input)) % choices.len()]
}

/// Where to cut: a number of sizes, then the sizes.
pub fn cuts<'a>(input: &mut Unstructured<'a>) -> &'a [u8] {
    let len = usize::from(byte(input)) % 8;
    up_to(input, len)
}

/// A wire of a hundred thousand bytes in pieces of one says no more than its beginning does.
const PIECES_MAX: usize = 256;

/// The bytes in pieces of these sizes, over and over; whole if there are no sizes or only zeros. The last of
/// many pieces is all that is left.
///
/// ```text
///   sizes 3 0 1:   | 1 2 3 || 4 | 5 6 7 || 8 | 9 ...
/// ```
pub fn pieces<'a>(bytes: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    if sizes.iter().all(|&size| size == 0) {
        return vec![bytes];
    }
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let len = if pieces.len() < PIECES_MAX { usize::from(size) } else { rest.len() };
        let (piece, after) = rest.split_at(rest.len().min(len));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
