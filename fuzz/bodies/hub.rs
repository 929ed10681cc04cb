//! Operations on a `Hub` and on the model of `hub_model`, compared after each. Nothing may be refused.
//!
//! Input: operations, each a letter and a byte for each thing that it needs. Of the letters, any other byte
//! stands for one; a digit is its number, any other byte a number too, and a number chooses from what there
//! is.
//!
//! | operation | |
//! |---|---|
//! | `S` channel form | subscribe |
//! | `U` subscriber | unsubscribe |
//! | `P` channel len | publish |
//! | `X` channel len subscriber | publish to all but one subscriber of the channel |
//! | `G` channel len kind | append what is no publication: a notice, or a gap in the same epoch or into the next |
//! | `R` subscriber len | read that many bytes, frames in part too |
//! | `F` subscriber | finish the frame that was begun |
//! | `O` subscriber len | finish it, then skip the oldest until at most this many bytes are left |
//! | `L` subscriber | finish it, then skip all but the last |
//! | `N` subscriber len | the same, and the last too if more than this many bytes to step over follow it |
//! | `M` subscriber | ask how many were skipped, and what gaps among them |
//! | `D` | take a log that has something new |
//! | `T` log | trim a log that was taken, gone or not |
//! | `W` log leaving | walk over a log that was taken from the last place to the first, of each eight those leave that the number's bits say |
//! | `A` | take all logs that have something new, and trim all that were taken: the end of a turn |

use arbitrary::Unstructured;

use super::hub_model::{CHANNELS, Pair};
use super::input::byte;

const LETTERS: &[u8] = b"SUPRFOLMDTAWXNG";

/// Enough to come and go in; what one run does is then quick.
const OPERATIONS_MAX: usize = 300;
const SUBSCRIBERS_MAX: usize = 24;
const WAITING_LEN_MAX: usize = 1 << 20;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut pair = Pair::default();
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        operate(&mut pair, &mut input);
        pair.check();
    }
    pair.read_all();
    pair.check();
    pair.unsubscribe_all();
    pair.check();
}

fn operate(pair: &mut Pair, input: &mut Unstructured) {
    let first = byte(input);
    let letter = if LETTERS.contains(&first) { first } else { LETTERS[usize::from(first) % LETTERS.len()] };
    match letter {
        b'S' => {
            let (channel, form) = (number(input) % CHANNELS.len(), number(input));
            if pair.subscribers_len() < SUBSCRIBERS_MAX {
                pair.subscribe(channel, form);
            }
        }
        b'P' => {
            let channel = number(input) % CHANNELS.len();
            let len = payload_len(input);
            pair.publish(channel, if pair.waiting_len() < WAITING_LEN_MAX { len } else { len % 200 });
        }
        b'X' => {
            let channel = number(input) % CHANNELS.len();
            let len = payload_len(input);
            let len = if pair.waiting_len() < WAITING_LEN_MAX { len } else { len % 200 };
            pair.publish_excluding(channel, len, number(input));
        }
        b'G' => {
            let channel = number(input) % CHANNELS.len();
            let len = payload_len(input);
            pair.interrupt(
                channel,
                if pair.waiting_len() < WAITING_LEN_MAX { len } else { len % 200 },
                number(input),
            );
        }
        b'D' => pair.take_dirty(),
        b'T' => pair.trim(number(input)),
        b'A' => pair.end_turn(),
        b'W' => pair.walk(number(input), number(input)),
        letter => operate_on_subscriber(pair, letter, input),
    }
}

fn operate_on_subscriber(pair: &mut Pair, letter: u8, input: &mut Unstructured) {
    let index = number(input);
    let Some(at) = pair.subscriber(index) else { return };
    match letter {
        b'U' => pair.unsubscribe(at),
        b'R' => pair.read(at, payload_len(input)),
        b'F' => pair.finish(at),
        b'O' => pair.skip_oldest(at, payload_len(input) as u64),
        b'L' => pair.skip_to_newest(at, u64::MAX),
        b'N' => pair.skip_to_newest(at, payload_len(input) as u64),
        b'M' => pair.take_missed(at),
        other => unreachable!("{other} is no operation on a subscriber"),
    }
}

fn number(input: &mut Unstructured) -> usize {
    usize::from(byte(input).wrapping_sub(b'0'))
}

/// 0 to 199, then in steps of 400: a log gives its buffer back when it has been over 16 KiB.
fn payload_len(input: &mut Unstructured) -> usize {
    match number(input) {
        len @ 0..200 => len,
        many => (many - 199) * 400,
    }
}
