//! What one subscriber of the model of the hub has yet to read or to step over, frame by frame, and where it is.
//!
//! The channels and the hub itself are in `hub_model`.

use std::collections::VecDeque;

use fanfare::hub::{Gap, Lost, PublicationId, Says, Subscription, WireForm};

/// A frame that a subscriber has not read to its end.
#[derive(Debug)]
pub struct Frame {
    pub bytes: Vec<u8>,
    /// Whether the subscriber steps over it.
    pub is_excluded: bool,
    pub says: Says,
}

impl Frame {
    pub fn is_publication(&self) -> bool {
        matches!(self.says, Says::Publication(_))
    }

    pub fn lost(&self) -> Option<Lost> {
        match self.says {
            Says::Gap(lost) => Some(lost),
            Says::Publication(_) | Says::Notice => None,
        }
    }
}

/// What a subscriber must receive.
#[derive(Debug)]
pub struct Subscriber {
    pub subscription: Subscription,
    pub owner: u64,
    pub form: WireForm,
    /// The first is to be read.
    pub waiting: VecDeque<Frame>,
    /// How many bytes of the first have been read.
    pub read_len: usize,
    pub missed: u64,
    pub lost: Option<Lost>,
    /// The last publication that it has begun, skipped, stepped over, or found.
    pub position: Option<PublicationId>,
}

impl Subscriber {
    /// There is something new. It has no frame where there are no bytes, and then nobody has to read it.
    pub fn push(&mut self, bytes: Vec<u8>, is_excluded: bool, says: Says) {
        self.waiting.push_back(Frame { bytes, is_excluded, says });
        self.step_over();
    }

    pub fn step_over(&mut self) {
        while self.waiting.front().is_some_and(|frame| frame.is_excluded || frame.bytes.is_empty()) {
            self.pass();
            self.waiting.pop_front();
        }
    }

    /// The first frame is behind it, or is begun.
    pub fn pass(&mut self) {
        let Some(frame) = self.waiting.front() else { return };
        self.position = after(frame.says, self.position);
    }

    /// The frames that it will read.
    pub fn readable(&self) -> impl Iterator<Item = &Frame> {
        self.waiting.iter().filter(|frame| !frame.is_excluded && !frame.bytes.is_empty())
    }

    /// The publications that it will read, the one that it has begun included, whatever that is.
    pub fn to_read(&self) -> usize {
        let begun = usize::from(self.read_len > 0);
        begun + self.readable().skip(begun).filter(|frame| frame.is_publication()).count()
    }

    /// The bytes of frames that it steps over, and of notices that it has not begun.
    pub fn others_len(&self) -> usize {
        let frames = self.waiting.iter().skip(usize::from(self.read_len > 0));
        frames
            .filter(|frame| frame.is_excluded || !frame.is_publication())
            .map(|frame| frame.bytes.len())
            .sum()
    }

    /// What it will read, divided where it steps over frames.
    pub fn runs(&self) -> Vec<Vec<u8>> {
        let mut runs = vec![Vec::new()];
        for frame in &self.waiting {
            match runs.last_mut() {
                Some(run) if !frame.is_excluded || frame.bytes.is_empty() => run.extend(&frame.bytes),
                Some(run) if run.is_empty() => {}
                _ => runs.push(Vec::new()),
            }
        }
        runs[0].drain(..self.read_len);
        runs.retain(|run| !run.is_empty());
        runs
    }

    /// What is left of a frame that was begun.
    pub fn started(&self) -> &[u8] {
        match self.waiting.front() {
            Some(frame) if self.read_len > 0 => &frame.bytes[self.read_len..],
            _ => &[],
        }
    }

    /// The bytes before the end of the log.
    pub fn lag(&self) -> usize {
        self.kept_for() - self.read_len
    }

    /// The bytes of the frames that are not wholly read.
    pub fn kept_for(&self) -> usize {
        self.waiting.iter().map(|frame| frame.bytes.len()).sum()
    }

    pub fn unread_publications(&self) -> usize {
        self.to_read() - usize::from(self.read_len > 0)
    }

    pub fn is_lagged(&self, lag_max: u64) -> bool {
        self.lag() as u64 > lag_max && (self.to_read() > 1 || self.others_len() as u64 > lag_max)
    }

    /// How many frames are skipped at least for `lag_max` bytes to be left at most.
    pub fn beyond(&self, lag_max: u64) -> usize {
        let mut left = self.kept_for() as u64;
        let too_many = |frame: &&Frame| {
            let is_too_many = left > lag_max;
            left -= frame.bytes.len() as u64;
            is_too_many
        };
        self.waiting.iter().take_while(too_many).count()
    }

    /// How many frames come before the newest publication that is kept: the newest that it will read, unless more than this
    /// many bytes follow it.
    pub fn before_newest(&self, lag_max: u64) -> usize {
        let mut after = 0;
        for (index, frame) in self.waiting.iter().enumerate().rev() {
            if after > lag_max {
                break;
            }
            if !frame.bytes.is_empty() && !frame.is_excluded && frame.is_publication() {
                return index;
            }
            after += frame.bytes.len() as u64;
        }
        self.beyond(lag_max)
    }

    /// What it reads up to the next gap: what the gaps lost that come first, the bytes, and where it is then.
    pub fn to_gap(&self) -> (Option<Gap>, Vec<u8>, Option<PublicationId>) {
        let (mut lost, mut bytes, mut position) = (None::<Lost>, Vec::new(), self.position);
        let mut read_len = self.read_len;
        for frame in &self.waiting {
            match frame.lost().filter(|_| !frame.bytes.is_empty() && read_len == 0) {
                Some(found) if bytes.is_empty() => lost = Some(lost.map_or(found, |lost| lost.and(found))),
                Some(_) => break,
                None => bytes.extend(&frame.bytes[read_len..]),
            }
            read_len = 0;
            position = after(frame.says, position);
        }
        (lost.map(|lost| lost.gap), bytes, position)
    }

    pub fn advance(&mut self, len: usize) {
        self.read_len += len;
        while let Some(frame) = self.waiting.front()
            && self.read_len >= frame.bytes.len()
        {
            self.read_len -= frame.bytes.len();
            self.pass();
            self.waiting.pop_front();
            self.step_over();
        }
        if self.read_len > 0 {
            self.pass();
        }
    }

    pub fn skip(&mut self, count: usize) {
        assert_eq!(self.read_len, 0, "a started frame is finished first");
        for _ in 0..count {
            self.pass();
            let frame = self.waiting.pop_front().expect("there is one to skip");
            if frame.is_excluded || frame.bytes.is_empty() {
                continue;
            }
            self.missed += u64::from(frame.is_publication());
            if let Some(lost) = frame.lost() {
                self.lost = Some(self.lost.map_or(lost, |before| before.and(lost)));
            }
        }
        self.step_over();
    }
}

/// Where a reader is that was there and has read this.
pub fn after(says: Says, before: Option<PublicationId>) -> Option<PublicationId> {
    match says {
        Says::Publication(id) => id.or(before),
        Says::Notice => before,
        Says::Gap(lost) => Some(lost.since),
    }
}
