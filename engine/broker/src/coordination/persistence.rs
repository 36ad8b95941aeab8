//! The tables of the coordination shard as the metadata journal sees them.
//!
//! Topics and groups take effect when the journal says that they are durable; data shards and name servers hear of them then, before
//! whoever asked is answered. Offsets and delay progress are known before they are durable: losing the newest of them is allowed.

use std::sync::Arc;

use super::core::Core;
use super::offsets::Pair;
use crate::message::ShardMessage;
use crate::metadata::{Change, SaveError, Sink, State, Table, journal::Saved};

/// Changes in one transaction: a request that asks for more is made durable in several.
const CHANGES_PER_TRANSACTION: usize = 20_000;
/// Entries in one part of a snapshot.
const PART_ENTRIES: usize = 5_000;

impl Core {
    /// Takes everything staged to the journal; nothing staged: waits for what was taken before. To be called in the same breath as
    /// the staging, so that what one request asked for is one transaction (a very large one: several).
    pub fn save(&self) -> Saved {
        let mut changes = self.topics.borrow_mut().take_changes();
        changes.extend(self.groups.borrow_mut().take_changes());
        changes.extend(self.modes.borrow_mut().take_changes());
        while changes.len() > CHANGES_PER_TRANSACTION {
            let rest = changes.split_off(CHANGES_PER_TRANSACTION);
            // If it fails, so does what comes behind it.
            drop(self.journal.append(std::mem::replace(&mut changes, rest)));
        }
        self.journal.append(changes)
    }

    /// Takes changed offsets and delay progress to the journal and waits until they are durable.
    ///
    /// # Errors
    /// See [`SaveError`]; they are kept and taken again by the next call.
    pub async fn flush_offsets(&self) -> Result<(), SaveError> {
        if !self.offsets.borrow().has_unsaved() {
            // What another call has taken must be durable too.
            return self.journal.append(Vec::new()).outcome().await;
        }
        let mut unsaved = self.offsets.borrow_mut().take_unsaved(self.now_ms());
        let appended: Vec<Saved> =
            std::mem::take(&mut unsaved.transactions).into_iter().map(|t| self.journal.append(t)).collect();
        let mut outcome = Ok(());
        for saved in appended {
            outcome = outcome.and(saved.outcome().await);
        }
        if outcome.is_err() {
            self.offsets.borrow_mut().not_saved(unsaved);
        }
        outcome
    }

    /// A change of any table, durable or recovered. Gives the names of the topic or group that it is about.
    fn apply(&self, change: Change) -> Applied {
        match change {
            Change::Topic { name, config } => Applied::Topic(self.topics.borrow_mut().apply(&name, config)),
            Change::Group { name, config } => {
                self.groups.borrow_mut().apply(&name, config);
                Applied::Group(name)
            }
            Change::Forbidden { group, topics } => {
                self.groups.borrow_mut().apply_forbidden(&group, topics);
                Applied::Group(group)
            }
            Change::RequestModes { topic, modes } => {
                self.modes.borrow_mut().apply(&topic, modes);
                Applied::Nothing
            }
            Change::Version(Table::RequestModes, version) => {
                self.modes.borrow_mut().apply_version(version);
                Applied::Nothing
            }
            Change::Version(Table::Topics, version) => {
                self.topics.borrow_mut().apply_version(version);
                Applied::Nothing
            }
            Change::Version(Table::Groups, version) => {
                self.groups.borrow_mut().apply_version(version);
                Applied::Nothing
            }
            about_offsets => Applied::Offsets(about_offsets),
        }
    }
}

/// What became of a change.
enum Applied {
    Nothing,
    /// For data shards.
    Topic(crate::message::TopicChange),
    /// The group of that name, or what it must not do.
    Group(String),
    /// Not done here: it is known already, or comes from disk.
    Offsets(Change),
}

impl State for Core {
    type Cursor = Cursor;

    fn committed(&self, changes: Vec<Change>) {
        let (mut topics, mut groups) = (Vec::new(), Vec::new());
        for change in changes {
            match self.apply(change) {
                Applied::Topic(topic) => topics.push(topic),
                Applied::Group(group) => groups.push(group),
                Applied::Nothing | Applied::Offsets(_) => {}
            }
        }
        if !topics.is_empty() {
            let topics: Arc<[_]> = topics.into();
            self.mail_all(|| ShardMessage::Topics(Arc::clone(&topics)));
            self.registration.changed();
        }
        if !groups.is_empty() {
            let table = self.groups.borrow();
            let groups: Arc<[_]> = groups.iter().map(|group| table.published(group)).collect();
            self.mail_all(|| ShardMessage::Groups(Arc::clone(&groups)));
        }
    }

    fn refused(&self) {
        self.topics.borrow_mut().forget_staged();
        self.groups.borrow_mut().forget_staged();
        self.modes.borrow_mut().forget_staged();
    }

    fn part(&self, cursor: &mut Cursor) -> Vec<Change> {
        loop {
            let part = cursor.part(self);
            if !part.is_empty() || cursor.is_at_end() {
                return part;
            }
        }
    }
}

/// Takes what is recovered, or taken over.
#[derive(Debug)]
pub struct Loading<'a>(pub &'a Core);

impl Sink for Loading<'_> {
    fn reset(&mut self) {
        self.0.topics.borrow_mut().clear();
        self.0.groups.borrow_mut().clear();
        self.0.modes.borrow_mut().clear();
        self.0.offsets.borrow_mut().clear();
    }

    fn apply(&mut self, change: Change) {
        if let Applied::Offsets(change) = self.0.apply(change) {
            self.0.offsets.borrow_mut().apply(change);
        }
    }
}

/// How far a walk over all tables has come: the table, and the last entry seen in it.
#[derive(Debug, Default)]
pub enum Cursor {
    /// At the beginning.
    #[default]
    Versions,
    /// In the topics.
    Topics(Option<String>),
    /// In the groups.
    Groups(Option<String>),
    /// In what groups must not do.
    Forbidden(Option<String>),
    /// In the modes of groups.
    RequestModes(Option<String>),
    /// In the offsets.
    Offsets(Option<Pair>),
    /// In the delay progress.
    Delay,
    /// Everything was seen.
    End,
}

impl Cursor {
    fn is_at_end(&self) -> bool {
        matches!(self, Self::End)
    }

    /// The next entries of the present table; empty: goes on with the next table.
    fn part(&mut self, core: &Core) -> Vec<Change> {
        match self {
            Self::Versions => {
                *self = Self::Topics(None);
                vec![
                    Change::Version(Table::Topics, core.topics.borrow().version()),
                    Change::Version(Table::Groups, core.groups.borrow().version()),
                    Change::Version(Table::Offsets, core.offsets.borrow().version()),
                    Change::Version(Table::Delay, core.offsets.borrow().delay().data_version),
                    Change::Version(Table::RequestModes, core.modes.borrow().version()),
                ]
            }
            Self::Topics(after) => {
                let topics = core.topics.borrow();
                let change = |name, config| Change::Topic { name, config: Some(config) };
                let (part, last) = part_by_name(topics.after(after.as_deref()), change);
                *self = last.map_or(Self::Groups(None), |name| Self::Topics(Some(name)));
                part
            }
            Self::Groups(after) => {
                let groups = core.groups.borrow();
                let change = |name, config| Change::Group { name, config: Some(config) };
                let (part, last) = part_by_name(groups.after(after.as_deref()), change);
                *self = last.map_or(Self::Forbidden(None), |name| Self::Groups(Some(name)));
                part
            }
            Self::Forbidden(after) => {
                let groups = core.groups.borrow();
                let change = |group, topics| Change::Forbidden { group, topics };
                let (part, last) = part_by_name(groups.forbidden_after(after.as_deref()), change);
                *self = last.map_or(Self::RequestModes(None), |name| Self::Forbidden(Some(name)));
                part
            }
            Self::RequestModes(after) => {
                let modes = core.modes.borrow();
                let change = |topic, modes| Change::RequestModes { topic, modes };
                let (part, last) = part_by_name(modes.after(after.as_deref()), change);
                *self = last.map_or(Self::Offsets(None), |topic| Self::RequestModes(Some(topic)));
                part
            }
            Self::Offsets(after) => {
                let (part, last) = offsets_part(core, after.as_ref());
                *self = last.map_or(Self::Delay, |pair| Self::Offsets(Some(pair)));
                part
            }
            Self::Delay => {
                *self = Self::End;
                let offsets = core.offsets.borrow();
                let shards = offsets.delay().shards.keys().filter_map(|shard| u16::try_from(*shard).ok());
                shards.map(|shard| Change::Delay { shard, levels: offsets.delay_of(shard) }).collect()
            }
            Self::End => Vec::new(),
        }
    }
}

/// The first entries of a table as changes, and the last name among them.
fn part_by_name<'a, V: 'a>(
    entries: impl Iterator<Item = (&'a String, &'a Arc<V>)>,
    change: impl Fn(String, Arc<V>) -> Change,
) -> (Vec<Change>, Option<String>) {
    let part: Vec<_> = entries.take(PART_ENTRIES).collect();
    let last = part.last().map(|(name, _)| (*name).clone());
    (part.into_iter().map(|(name, value)| change(name.clone(), Arc::clone(value))).collect(), last)
}

/// Offsets behind a pair, and the last pair among them.
fn offsets_part(core: &Core, after: Option<&Pair>) -> (Vec<Change>, Option<Pair>) {
    let offsets = core.offsets.borrow();
    let (mut part, mut count, mut last) = (Vec::new(), 0, None);
    for (pair, queues) in offsets.pairs_after(after) {
        count += queues.len() + 1;
        last = Some(pair.clone());
        part.push(Change::Offsets { topic: pair.0, group: pair.1, queues });
        if count >= PART_ENTRIES {
            break;
        }
    }
    (part, last)
}
