//! Positions against a model that remembers all that was said, and where.

use super::*;

const EPOCH: u64 = 7;

fn id(epoch: u64, sequence: u64) -> PublicationId {
    PublicationId { epoch, sequence }
}

fn lost(missed: Option<u64>, since: PublicationId) -> Lost {
    Lost { gap: Gap { missed }, since }
}

/// What is appended next, after the newest publication.
const KINDS: [fn(PublicationId) -> (Says, usize); 7] = [
    |newest| (Says::Publication(Some(id(newest.epoch, newest.sequence + 1))), 3),
    // Of a form that cannot express it, or of which the only reader is excluded.
    |newest| (Says::Publication(Some(id(newest.epoch, newest.sequence + 1))), 0),
    |_| (Says::Notice, 2),
    |_| (Says::Notice, 0),
    |newest| (Says::Gap(lost(Some(2), id(newest.epoch, newest.sequence + 2))), 1),
    |newest| (Says::Gap(lost(None, id(newest.epoch + 1, 0))), 2),
    |newest| (Says::Gap(lost(None, id(newest.epoch + 1, 5))), 0),
];

/// All that was appended: where, in how many bytes, what.
#[derive(Default)]
struct Model(Vec<(u64, u64, Says)>);

impl Model {
    /// The last publication that is behind a reader that has read everything before `offset`.
    fn position(&self, first: PublicationId, offset: u64) -> PublicationId {
        let read =
            self.0.iter().filter(|&&(start, len, _)| if len > 0 { start < offset } else { start <= offset });
        read.fold(first, |position, (_, _, says)| match says {
            Says::Publication(id) => id.unwrap_or(position),
            Says::Notice => position,
            Says::Gap(lost) => lost.since,
        })
    }

    fn frames(&self, from: u64, to: u64) -> impl Iterator<Item = &(u64, u64, Says)> {
        self.0.iter().filter(move |&&(start, len, _)| len > 0 && (from..to).contains(&start))
    }
}

/// Appends the kinds that a number says, and calls `check` after each.
fn append_all(kinds: usize, count: u32, check: impl Fn(&Positions, &Log, &Model, PublicationId)) {
    let (mut positions, mut log, mut model) = (Positions::default(), Log::default(), Model::default());
    let first = id(EPOCH, 4);
    positions.note_newest(first, &log, true);
    for place in 0..count {
        let kind = kinds / KINDS.len().pow(place) % KINDS.len();
        let (says, len) = KINDS[kind](positions.newest().unwrap());
        let start = log.head();
        let is_read = start == 0;
        log.append(|out| out.extend(vec![b'x'; len]));
        positions.note(says, start, &log, is_read);
        model.0.push((start, len as u64, says));
        check(&positions, &log, &model, first);
    }
}

#[test]
fn every_reader_is_after_what_it_has_read_or_begun_whatever_was_appended() {
    for kinds in 0..KINDS.len().pow(4) {
        append_all(kinds, 4, |positions, log, model, first| {
            for offset in 0..=log.head() {
                // A jump that nobody was before is nobody's.
                let expected = model.position(first, offset);
                let position = positions.of(log.advance(Cursor::default(), offset as usize), log);
                assert_eq!(position, Some(expected), "{kinds} at {offset}");
                let frames = model.frames(offset, log.head());
                let notices = frames.filter(|(_, _, says)| !matches!(says, Says::Publication(_)));
                let lens: Vec<u64> = notices.map(|(_, len, _)| *len).collect();
                assert_eq!(positions.notices(offset, log.head()), lens.len() as u64);
                assert_eq!(positions.notices_len(offset, log.head(), log), lens.iter().sum::<u64>());
                let gaps = model.frames(offset, log.head()).filter_map(|(_, _, says)| match says {
                    Says::Gap(lost) => Some(*lost),
                    Says::Publication(_) | Says::Notice => None,
                });
                assert_eq!(positions.lost(offset, log.head()), gaps.reduce(Lost::and));
            }
        });
    }
}

#[test]
fn what_is_trimmed_changes_no_position_and_leaves_no_mark_behind() {
    for kinds in 0..KINDS.len().pow(4) {
        let (mut positions, mut log) = (Positions::default(), Log::default());
        positions.note_newest(id(EPOCH, 4), &log, true);
        for place in 0..4 {
            let (says, len) =
                KINDS[kinds / KINDS.len().pow(place) % KINDS.len()](positions.newest().unwrap());
            let start = log.head();
            log.append(|out| out.extend(vec![b'x'; len]));
            positions.note(says, start, &log, start == 0);
        }
        for offset in 0..=log.head() {
            let cursor = log.advance(Cursor::default(), offset as usize);
            let before = positions.of(cursor, &log);
            log.trim(offset);
            positions.trim(log.tail());
            assert_eq!(positions.of(cursor, &log), before, "{kinds} at {offset}");
        }
        assert!(positions.is_plain(), "{kinds}");
        assert_eq!(positions.of(log.cursor_at_head(), &log), positions.newest());
    }
}

#[test]
fn a_log_of_publications_without_a_hole_keeps_no_marks() {
    append_all(0, 4, |positions, _, _, _| assert!(positions.is_plain()));
    // Nobody has said yet which is the newest: the first that comes says it of those before, too.
    let (mut positions, mut log) = (Positions::default(), Log::default());
    for number in [None, Some(8), Some(9)] {
        let start = log.head();
        log.append(|out| out.push(b'x'));
        positions.note(Says::Publication(number.map(|number| id(EPOCH, number))), start, &log, false);
    }
    assert!(positions.is_plain());
    assert_eq!(positions.of(Cursor::default(), &log), Some(id(EPOCH, 6)));
}

#[test]
fn what_goes_on_without_frames_while_a_reader_is_behind_is_one_mark_however_often() {
    let (mut positions, mut log) = (Positions::default(), Log::default());
    positions.note_newest(id(EPOCH, 4), &log, true);
    log.append(|out| out.push(b'x'));
    positions.note(Says::Publication(Some(id(EPOCH, 5))), 0, &log, true);
    for number in 6..1000 {
        positions.note(Says::Publication(Some(id(EPOCH, number))), log.head(), &log, false);
    }
    assert_eq!(positions.marks.as_ref().map(|marks| marks.len()), Some(1));
    assert_eq!(positions.of(Cursor::default(), &log), Some(id(EPOCH, 4)));
    assert_eq!(positions.of(log.cursor_at_head(), &log), Some(id(EPOCH, 999)));
}

#[test]
fn a_run_begins_with_the_gaps_that_come_first_and_ends_at_the_next() {
    let (mut positions, mut log) = (Positions::default(), Log::default());
    positions.note_newest(id(EPOCH, 4), &log, true);
    let mut append = |says| {
        let start = log.head();
        log.append(|out| out.extend(b"xy"));
        positions.note(says, start, &log, start == 0);
    };
    append(Says::Gap(lost(Some(1), id(EPOCH, 5))));
    append(Says::Gap(lost(Some(2), id(EPOCH, 7))));
    append(Says::Publication(Some(id(EPOCH, 8))));
    append(Says::Notice);
    append(Says::Gap(lost(None, id(EPOCH + 1, 0))));
    append(Says::Publication(Some(id(EPOCH + 1, 1))));
    let run = |offset| {
        let Run { gap, frames, next } = positions.run(log.advance(Cursor::default(), offset), &log);
        (gap.map(|gap| gap.missed), frames, next.unwrap())
    };
    assert_eq!(run(0), (Some(Some(3)), 4..8, id(EPOCH, 8)));
    assert_eq!(run(2), (Some(Some(2)), 4..8, id(EPOCH, 8)));
    assert_eq!(run(4), (None, 4..8, id(EPOCH, 8)));
    assert_eq!(run(8), (Some(None), 10..12, id(EPOCH + 1, 1)));
    assert_eq!(run(12), (None, 12..12, id(EPOCH + 1, 1)));
}

#[test]
fn the_number_of_what_several_gaps_lost_is_not_known_where_that_of_one_is_not() {
    let (one, other) = (lost(Some(3), id(EPOCH, 9)), lost(Some(u64::MAX), id(EPOCH, 12)));
    assert_eq!(one.and(other), lost(Some(u64::MAX), id(EPOCH, 12)));
    assert_eq!(one.and(lost(None, id(8, 1))), lost(None, id(8, 1)));
}

#[test]
fn positions_take_32_bytes_of_a_log_without_marks_and_40_a_mark() {
    assert!(size_of::<Positions>() <= 32, "{}", size_of::<Positions>());
    assert!(size_of::<Mark>() <= 48, "{}", size_of::<Mark>());
}
