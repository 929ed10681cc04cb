//! A `Hub` and a model of it: for each channel its subscribers, and for each of those a list of the frames that it has
//! yet to read or to step over.
//!
//! Every operation is applied to both, and the results are compared. The model copies each frame to each
//! subscriber, which the log exists to avoid.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::hub_subscriber::{Subscriber, after};

use fanfare::hub::{
    ChannelName, Gap, Hub, LogId, Lost, PublicationId, Says, Sending, Subscription, WireForm,
};

pub const CHANNELS: [&str; 4] = ["news", "prices", "a", "z"];

/// Subscriptions are spread over this many owners, so that each has several, also in one channel.
const OWNERS: u64 = 5;

/// Bounds under which `is_lagged` is compared.
const LAG_BOUNDS: [u64; 3] = [0, 100, 1000];

/// The newest publication of a channel. An epoch begins with 0.
#[derive(Clone, Copy, Debug)]
struct Newest(PublicationId);

impl Default for Newest {
    fn default() -> Self {
        Self(PublicationId { epoch: 1, sequence: 0 })
    }
}

/// The two, kept alike.
#[derive(Debug, Default)]
pub struct Pair {
    hub: Hub,
    /// The newest publication of each channel.
    newest: [Newest; CHANNELS.len()],
    channels: BTreeMap<usize, Vec<Subscriber>>,
    /// Logs with something new, by channel and form.
    dirty: BTreeSet<(usize, WireForm)>,
    /// Logs that were taken as dirty and still have a subscriber.
    taken: BTreeMap<(usize, WireForm), LogId>,
    /// All that were ever taken.
    ever_taken: Vec<LogId>,
    subscribed: u64,
    published: u64,
    /// Publications times the subscribers that got them, by form.
    deliveries: [u64; WireForm::ALL.len()],
    skipped: u64,
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
        let owner = self.subscribed % OWNERS;
        self.subscribed += 1;
        let subscription = self.hub.subscribe(&name(channel), form, owner);
        assert_eq!(subscription.form(), form);
        assert_eq!(self.hub.channel(subscription).as_str(), CHANNELS[channel]);
        let Newest(newest) = self.newest[channel];
        self.hub.note_newest(subscription, newest);
        let (waiting, position) = (VecDeque::new(), Some(newest));
        let subscriber =
            Subscriber { subscription, owner, form, waiting, read_len: 0, missed: 0, lost: None, position };
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
        self.append(channel, len, self.next(channel), None);
    }

    /// Publishes to all subscribers of the channel but one.
    pub fn publish_excluding(&mut self, channel: usize, len: usize, number: usize) {
        let all = self.channels.get(&channel).map_or(&[][..], |all| &all[..]);
        let excluded = all.get(number % all.len().max(1)).map(|subscriber| subscriber.subscription);
        self.append(channel, len, self.next(channel), excluded);
    }

    /// Appends what is no publication, of a kind.
    pub fn interrupt(&mut self, channel: usize, len: usize, kind: usize) {
        let Newest(PublicationId { epoch, sequence }) = self.newest[channel];
        let lost = kind as u64 / 3;
        let says = match kind % 3 {
            0 => Says::Notice,
            1 => {
                let since = PublicationId { epoch, sequence: sequence + lost };
                Says::Gap(Lost { gap: Gap { missed: Some(lost) }, since })
            }
            _ => {
                let since = PublicationId { epoch: epoch + 1, sequence: lost };
                Says::Gap(Lost { gap: Gap { missed: None }, since })
            }
        };
        self.append(channel, len, says, None);
    }

    fn next(&self, channel: usize) -> Says {
        let Newest(PublicationId { epoch, sequence }) = self.newest[channel];
        Says::Publication(Some(PublicationId { epoch, sequence: sequence + 1 }))
    }

    fn append(&mut self, channel: usize, len: usize, says: Says, excluded: Option<Subscription>) {
        let number = self.published;
        self.published += 1;
        let mut encoded = Vec::new();
        let sending = Sending { excluded, frame: None, says };
        self.hub.append_with(CHANNELS[channel], sending, |form, out| {
            encoded.push(form);
            out.extend(frame(number, form, len));
        });
        let Newest(newest) = self.newest[channel];
        self.newest[channel] = Newest(after(says, Some(newest)).expect("there was one before"));
        let subscribers = self.channels.get_mut(&channel).map_or(&mut [][..], |all| &mut all[..]);
        let receivers = subscribers.iter().filter(|subscriber| Some(subscriber.subscription) != excluded);
        let forms: BTreeSet<WireForm> = receivers.map(|subscriber| subscriber.form).collect();
        assert_eq!(encoded, forms.iter().copied().collect::<Vec<_>>(), "once for each form that is read");
        for subscriber in subscribers.iter_mut() {
            let form = subscriber.form;
            let frame = if forms.contains(&form) { frame(number, form, len) } else { Vec::new() };
            // The Pusher forms know no positions, and no notices but their own.
            let says = if form.is_pusher() { Says::default() } else { says };
            let is_excluded = !frame.is_empty() && Some(subscriber.subscription) == excluded;
            if !frame.is_empty() {
                self.deliveries[form.index()] += u64::from(!is_excluded);
                self.dirty.insert((channel, form));
            }
            subscriber.push(frame, is_excluded, says);
        }
    }

    /// Reads this many bytes, over the runs of which there are enough.
    pub fn read(&mut self, at: (usize, usize), len: usize) {
        self.check_unread(at);
        let (hub, subscriber) = self.both(at);
        let len = len % (subscriber.runs().iter().map(Vec::len).sum::<usize>() + 1);
        hub.advance(subscriber.subscription, len);
        subscriber.advance(len);
        assert_eq!(hub.started(subscriber.subscription), subscriber.started());
    }

    fn check_unread(&mut self, at: (usize, usize)) {
        let (hub, subscriber) = self.both(at);
        let expected = subscriber.runs();
        assert_eq!(hub.unread_runs(subscriber.subscription).collect::<Vec<_>>(), expected);
        assert_eq!(hub.unread(subscriber.subscription), expected.first().map_or(&[][..], |run| run));
        let is_excluded = subscriber.waiting.iter().any(|frame| frame.is_excluded);
        if !is_excluded && !subscriber.form.is_pusher() {
            let (gap, bytes, next) = hub.unread_to_gap(subscriber.subscription);
            assert_eq!((gap, bytes.to_vec(), next), subscriber.to_gap());
        }
    }

    /// Reads run after run.
    pub fn read_all(&mut self) {
        let places: Vec<_> =
            (0..self.subscribers_len()).filter_map(|number| self.subscriber(number)).collect();
        for at in places {
            while let Some(run) = self.both(at).1.runs().first() {
                self.read(at, run.len());
            }
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
        let oldest = |hub: &mut Hub, subscription| hub.skip_oldest(subscription, lag_max);
        self.skip(at, lag_max, oldest, |it| it.beyond(lag_max).min(it.before_newest(lag_max)));
    }

    pub fn skip_to_newest(&mut self, at: (usize, usize), lag_max: u64) {
        let to_newest = |hub: &mut Hub, subscription| hub.skip_to_newest(subscription, lag_max);
        self.skip(at, lag_max, to_newest, |it| it.before_newest(lag_max));
    }

    fn skip(
        &mut self,
        at: (usize, usize),
        lag_max: u64,
        to: impl FnOnce(&mut Hub, Subscription),
        count: impl Fn(&Subscriber) -> usize,
    ) {
        self.finish(at);
        let (hub, subscriber) = self.both(at);
        to(hub, subscriber.subscription);
        let missed_before = subscriber.missed;
        subscriber.skip(count(subscriber));
        let skipped = subscriber.missed - missed_before;
        assert!(!hub.is_lagged(subscriber.subscription, lag_max));
        self.skipped += skipped;
        self.check_unread(at);
    }

    pub fn take_missed(&mut self, at: (usize, usize)) {
        let (hub, subscriber) = self.both(at);
        assert_eq!(hub.take_missed(subscriber.subscription), std::mem::take(&mut subscriber.missed));
        assert_eq!(hub.take_lost(subscriber.subscription), subscriber.lost.take());
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

    /// Walks over a log that was taken as a flush does: each subscription is met once, whoever is met and chosen leaves.
    pub fn walk(&mut self, number: usize, chosen: usize) {
        let Some((&(channel, form), &log)) = self.taken.iter().cycle().nth(number) else { return };
        let mut expected = self.subscriptions((channel, form));
        let (mut met, mut place) = (0, 0);
        while let Some(reader) = self.hub.reader_at(log, place) {
            take_out(&mut expected, reader);
            if chosen >> (met % 8) & 1 == 1 {
                let all = &self.channels[&channel];
                let index = all.iter().position(|other| other.subscription == reader.0);
                self.unsubscribe((channel, index.expect("it has not left")));
            }
            met += 1;
            place = self.hub.place_after(log, place, reader.0);
        }
        assert_eq!(expected, []);
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
            let unread_publications = self.hub.unread_publications(subscriber.subscription);
            assert_eq!(unread_publications, subscriber.unread_publications() as u64);
            if !subscriber.form.is_pusher() {
                assert_eq!(self.hub.position(subscriber.subscription), subscriber.position);
            }
            for bound in LAG_BOUNDS {
                let is_lagged = self.hub.is_lagged(subscriber.subscription, bound);
                assert_eq!(is_lagged, subscriber.is_lagged(bound), "{bound}");
            }
        }
        assert_eq!(self.hub.deliveries(), &self.deliveries);
        assert_eq!(self.hub.passed_over(), self.skipped);
        assert!(self.hub.log_bytes() >= needed, "what is to be read is kept");
        assert!(needed > 0 || self.hub.log_bytes() == 0, "when nobody is behind, nothing is kept");
    }

    /// Which log this is, by its subscribers, all of which must be there.
    fn identify(&self, log: LogId) -> (usize, WireForm) {
        let (first, _) = self.hub.reader_at(log, 0).expect("a log has a subscriber");
        let name = self.hub.channel(first).as_str();
        let channel =
            CHANNELS.iter().position(|other| *other == name).expect("the channel was subscribed to");
        let mut expected = self.subscriptions((channel, first.form()));
        for place in 0..self.hub.readers_len(log) {
            take_out(&mut expected, self.hub.reader_at(log, place).expect("places have no holes"));
        }
        assert_eq!(expected, []);
        (channel, first.form())
    }

    fn subscriptions(&self, log: (usize, WireForm)) -> Vec<(Subscription, u64)> {
        self.readers(log).map(|reader| (reader.subscription, reader.owner)).collect()
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

fn take_out(expected: &mut Vec<(Subscription, u64)>, reader: (Subscription, u64)) {
    let at = expected.iter().position(|other| *other == reader).expect("a subscription is met once");
    expected.swap_remove(at);
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
