//! A `Hub` beside a plain model of it: for each channel its subscribers, and for each of those the frames
//! that it has yet to read.
//!
//! Every operation is done to both, and what comes out is compared. The model copies each frame to each
//! subscriber, which is what the log is there to avoid.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fanfare::hub::{ChannelName, Hub, LogId, Subscription, WireForm};

pub const CHANNELS: [&str; 4] = ["news", "prices", "a", "z"];

/// What a subscriber must receive.
#[derive(Debug)]
struct Subscriber {
    subscription: Subscription,
    owner: u64,
    form: WireForm,
    /// Frames that are not wholly read.
    waiting: VecDeque<Vec<u8>>,
    /// How much of the first is read.
    read_len: usize,
    missed: u64,
}

impl Subscriber {
    fn unread(&self) -> Vec<u8> {
        self.waiting.iter().flatten().copied().skip(self.read_len).collect()
    }

    /// What is left of a frame that was begun.
    fn started(&self) -> &[u8] {
        match self.waiting.front() {
            Some(frame) if self.read_len > 0 => &frame[self.read_len..],
            _ => &[],
        }
    }

    fn lag(&self) -> usize {
        self.kept_for() - self.read_len
    }

    /// The bytes of the frames that are not wholly read.
    fn kept_for(&self) -> usize {
        self.waiting.iter().map(Vec::len).sum()
    }

    fn advance(&mut self, len: usize) {
        self.read_len += len;
        while let Some(frame) = self.waiting.front()
            && self.read_len >= frame.len()
        {
            self.read_len -= frame.len();
            self.waiting.pop_front();
        }
    }

    fn pass_over_one(&mut self) {
        assert_eq!(self.read_len, 0, "a started frame is finished first");
        self.waiting.pop_front().expect("there is one to pass over");
        self.missed += 1;
    }
}

/// The two, kept alike.
#[derive(Debug, Default)]
pub struct Pair {
    hub: Hub,
    channels: BTreeMap<usize, Vec<Subscriber>>,
    /// Logs with something new, by channel and form.
    dirty: BTreeSet<(usize, WireForm)>,
    /// Logs that were taken as dirty and still have a subscriber.
    taken: BTreeMap<(usize, WireForm), LogId>,
    /// All that were ever taken.
    ever_taken: Vec<LogId>,
    subscribed: u64,
    published: u64,
}

impl Pair {
    pub fn subscribers_len(&self) -> usize {
        self.channels.values().map(Vec::len).sum()
    }

    /// How many bytes the model keeps.
    pub fn waiting_len(&self) -> usize {
        self.channels.values().flatten().map(Subscriber::kept_for).sum()
    }

    /// Where a subscriber is, by its number; `None` if there are none.
    pub fn subscriber(&self, number: usize) -> Option<(usize, usize)> {
        let places =
            self.channels.iter().flat_map(|(&channel, all)| (0..all.len()).map(move |i| (channel, i)));
        places.cycle().nth(number)
    }

    pub fn subscribe(&mut self, channel: usize, form: usize) {
        let form = WireForm::ALL[form % WireForm::ALL.len()];
        let owner = self.subscribed;
        self.subscribed += 1;
        let subscription = self.hub.subscribe(&name(channel), form, owner);
        assert_eq!(subscription.form(), form);
        assert_eq!(self.hub.channel(subscription).as_str(), CHANNELS[channel]);
        let waiting = VecDeque::new();
        let subscriber = Subscriber { subscription, owner, form, waiting, read_len: 0, missed: 0 };
        self.channels.entry(channel).or_default().push(subscriber);
    }

    pub fn unsubscribe(&mut self, (channel, index): (usize, usize)) {
        let all = self.channels.get_mut(&channel).expect("the place is a subscriber's");
        let gone = all.remove(index);
        self.hub.unsubscribe(gone.subscription);
        if all.iter().all(|other| other.form != gone.form) {
            self.dirty.remove(&(channel, gone.form));
            self.taken.remove(&(channel, gone.form));
        }
        if all.is_empty() {
            self.channels.remove(&channel);
        }
    }

    pub fn unsubscribe_all(&mut self) {
        while let Some(at) = self.subscriber(0) {
            self.unsubscribe(at);
        }
    }

    pub fn publish(&mut self, channel: usize, len: usize) {
        let number = self.published;
        self.published += 1;
        let mut encoded = Vec::new();
        self.hub.append(CHANNELS[channel], |form, out| {
            encoded.push(form);
            out.extend(frame(number, form, len));
        });
        let subscribers = self.channels.get_mut(&channel).map_or(&mut [][..], |all| &mut all[..]);
        let forms: BTreeSet<WireForm> = subscribers.iter().map(|subscriber| subscriber.form).collect();
        assert_eq!(encoded, forms.into_iter().collect::<Vec<_>>(), "once for each form that is read");
        for subscriber in subscribers {
            let frame = frame(number, subscriber.form, len);
            if !frame.is_empty() {
                subscriber.waiting.push_back(frame);
                self.dirty.insert((channel, subscriber.form));
            }
        }
    }

    pub fn read(&mut self, at: (usize, usize), len: usize) {
        let (hub, subscriber) = self.both(at);
        let expected = subscriber.unread();
        let len = len % (expected.len() + 1);
        assert_eq!(hub.unread(subscriber.subscription), expected);
        hub.advance(subscriber.subscription, len);
        subscriber.advance(len);
        assert_eq!(hub.started(subscriber.subscription), subscriber.started());
    }

    pub fn read_all(&mut self) {
        let places: Vec<_> =
            (0..self.subscribers_len()).filter_map(|number| self.subscriber(number)).collect();
        for at in places {
            let len = self.both(at).1.lag();
            self.read(at, len);
            assert_eq!(self.both(at).1.lag(), 0);
        }
    }

    pub fn finish(&mut self, at: (usize, usize)) {
        let (hub, subscriber) = self.both(at);
        assert_eq!(hub.started(subscriber.subscription), subscriber.started());
        let len = subscriber.started().len();
        hub.advance(subscriber.subscription, len);
        subscriber.advance(len);
        assert_eq!(hub.started(subscriber.subscription), b"");
    }

    pub fn skip_oldest(&mut self, at: (usize, usize), lag_max: u64) {
        self.finish(at);
        let (hub, subscriber) = self.both(at);
        hub.skip_oldest(subscriber.subscription, lag_max);
        while subscriber.lag() as u64 > lag_max && subscriber.waiting.len() > 1 {
            subscriber.pass_over_one();
        }
        assert!(!hub.is_lagged(subscriber.subscription, lag_max));
        assert_eq!(hub.unread(subscriber.subscription), subscriber.unread());
    }

    pub fn skip_to_newest(&mut self, at: (usize, usize)) {
        self.finish(at);
        let (hub, subscriber) = self.both(at);
        hub.skip_to_newest(subscriber.subscription);
        while subscriber.waiting.len() > 1 {
            subscriber.pass_over_one();
        }
        assert_eq!(hub.unread(subscriber.subscription), subscriber.unread());
    }

    pub fn take_missed(&mut self, at: (usize, usize)) {
        let (hub, subscriber) = self.both(at);
        assert_eq!(hub.take_missed(subscriber.subscription), std::mem::take(&mut subscriber.missed));
    }

    pub fn take_dirty(&mut self) {
        let Some(log) = self.hub.pop_dirty() else {
            assert_eq!(self.dirty, BTreeSet::new(), "a log with something new is told");
            return;
        };
        let (channel, form) = self.identify(log);
        assert!(self.dirty.remove(&(channel, form)), "a log is told once, and only if it has something new");
        self.taken.insert((channel, form), log);
        self.ever_taken.push(log);
    }

    /// Walks over a log that was taken as a flush does: everybody is met once, whoever is met and chosen leaves.
    pub fn walk(&mut self, number: usize, chosen: usize) {
        let Some((&(channel, form), &log)) = self.taken.iter().cycle().nth(number) else { return };
        let mut expected: Vec<u64> = self.readers((channel, form)).map(|reader| reader.owner).collect();
        let mut met = Vec::new();
        for place in (0..self.hub.readers_len(log)).rev() {
            let (subscription, owner) = self.hub.reader_at(log, place).expect("places have no holes");
            met.push(owner);
            if chosen >> (met.len() % 8) & 1 == 1 {
                let all = &self.channels[&channel];
                let index = all.iter().position(|reader| reader.owner == owner).expect("it has not left");
                assert_eq!(all[index].subscription, subscription);
                self.unsubscribe((channel, index));
            }
        }
        met.sort_unstable();
        expected.sort_unstable();
        assert_eq!(met, expected);
    }

    pub fn trim(&mut self, number: usize) {
        if !self.ever_taken.is_empty() {
            self.hub.trim(self.ever_taken[number % self.ever_taken.len()]);
        }
    }

    /// After it, a log keeps what its slowest subscriber has yet to read, and no frame before that.
    pub fn end_turn(&mut self) {
        for _ in 0..=self.dirty.len() {
            self.take_dirty();
        }
        self.taken.values().for_each(|&log| self.hub.trim(log));
        let kept: usize = self.logs().into_iter().map(|log| self.kept_for_slowest(log)).sum();
        assert_eq!(self.hub.log_bytes(), kept);
    }

    /// What must hold at any time.
    pub fn check(&self) {
        assert_eq!(self.hub.channels_len(), self.channels.len());
        let mut needed = 0;
        for log in self.logs() {
            needed += self.kept_for_slowest(log);
        }
        for subscriber in self.channels.values().flatten() {
            assert_eq!(self.hub.lag(subscriber.subscription), subscriber.lag() as u64);
            assert_eq!(self.hub.started(subscriber.subscription), subscriber.started());
        }
        assert!(self.hub.log_bytes() >= needed, "what is to be read is kept");
        assert!(needed > 0 || self.hub.log_bytes() == 0, "when nobody is behind, nothing is kept");
    }

    /// Which log this is, by its subscribers, all of which must be there.
    fn identify(&self, log: LogId) -> (usize, WireForm) {
        let places = 0..self.hub.readers_len(log);
        let mut subscribers: Vec<(Subscription, u64)> =
            places.map(|place| self.hub.reader_at(log, place).expect("places have no holes")).collect();
        subscribers.sort_by_key(|&(_, owner)| owner);
        let &(first, _) = subscribers.first().expect("a log has a subscriber");
        let name = self.hub.channel(first).as_str();
        let channel =
            CHANNELS.iter().position(|other| *other == name).expect("the channel was subscribed to");
        let readers = self.readers((channel, first.form()));
        let expected: Vec<_> = readers.map(|reader| (reader.subscription, reader.owner)).collect();
        assert_eq!(subscribers, expected);
        (channel, first.form())
    }

    fn logs(&self) -> BTreeSet<(usize, WireForm)> {
        let all = self.channels.iter();
        all.flat_map(|(&channel, all)| all.iter().map(move |reader| (channel, reader.form))).collect()
    }

    fn kept_for_slowest(&self, log: (usize, WireForm)) -> usize {
        self.readers(log).map(Subscriber::kept_for).max().unwrap_or(0)
    }

    fn readers(&self, (channel, form): (usize, WireForm)) -> impl Iterator<Item = &Subscriber> {
        self.channels.get(&channel).into_iter().flatten().filter(move |reader| reader.form == form)
    }

    fn both(&mut self, (channel, index): (usize, usize)) -> (&mut Hub, &mut Subscriber) {
        let all = self.channels.get_mut(&channel).expect("the place is a subscriber's");
        (&mut self.hub, &mut all[index])
    }
}

fn name(channel: usize) -> ChannelName {
    ChannelName::new(CHANNELS[channel]).expect("the names are of the alphabet")
}

/// A frame unlike any other: its length, its number and its form, then bytes that follow from both. A payload
/// of no bytes is no frame in the first form, one of a single byte none in the second.
fn frame(number: u64, form: WireForm, len: usize) -> Vec<u8> {
    if len == form.index() {
        return Vec::new();
    }
    let mut frame = (len as u32).to_be_bytes().to_vec();
    frame.extend(number.to_be_bytes());
    frame.push(form.index() as u8);
    let seed = number as usize * 31 + form.index();
    frame.extend((0..len).map(|i| (seed + i * 7) as u8));
    frame
}
