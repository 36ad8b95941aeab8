//! Steps of a query: from one source to the next, from the newest to the oldest.

use ringmq_reactor::Io;

use super::lookup::{Cursor, KeyError, KeyLookup, Source};
use super::run::{Run, RunError};
use super::{Enabled, KeyIndex};
use crate::read::ReadTicket;
use crate::token::Tokens;

/// Runs whose pages are asked for ahead of their turn.
const PREFETCH_RUNS: usize = 15;

/// What a step of a query gave.
pub(crate) enum Step {
    /// Perhaps candidates; the query is not at its end.
    More,
    Wait(ReadTicket),
    /// Everything was searched.
    End,
    Failed(KeyError),
}

impl KeyIndex {
    /// Takes the query one step on. The caller looks at the candidates of each step before the next.
    pub fn advance(&mut self, io: &mut dyn Io, tokens: Tokens, lookup: &mut KeyLookup) -> Step {
        let Some(enabled) = &mut self.0 else { return Step::End };
        let Some(sources) = &mut lookup.sources else {
            let state = enabled.shared.state.borrow();
            lookup.sources = Some(state.sources().collect());
            lookup.add(state.tables.active().find(lookup.hash));
            return Step::More;
        };
        if let Some(cursor) = lookup.cursor.take() {
            return enabled.read_page(io, tokens, lookup, cursor);
        }
        let Some(source) = sources.pop_front() else { return Step::End };
        if !source.span().meets(lookup.query.begin_ms, lookup.query.end_ms) {
            return Step::More;
        }
        match source {
            Source::Table(table) => lookup.add(table.find(lookup.hash)),
            Source::Gap(span) => {
                return Step::Failed(KeyError::Building { bytes: span.to.since(span.from) });
            }
            Source::Run(run) if run.may_contain(lookup.hash) => {
                lookup.cursor =
                    run.pages_of(lookup.hash).map(|p| Cursor { run, next: *p.end(), first: *p.start() });
            }
            Source::Run(_) => {}
        }
        Step::More
    }
}

impl Enabled {
    fn read_page(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        lookup: &mut KeyLookup,
        mut cursor: Cursor,
    ) -> Step {
        let Some(page) = self.pages.get(&cursor.run, cursor.next) else {
            let ticket = self.pages.request(io, tokens, &cursor.run, cursor.next);
            lookup.cursor = Some(cursor);
            self.prefetch(io, tokens, lookup);
            return Step::Wait(ticket);
        };
        let mut candidates = Vec::new();
        let searched = match page {
            Ok(page) => cursor.run.search(cursor.next, &page, lookup.hash, &mut candidates),
            Err(source) => {
                self.condemn(&cursor.run);
                return Step::Failed(KeyError::File { source });
            }
        };
        match searched {
            Ok(more) => {
                lookup.add(candidates);
                if more && cursor.next > cursor.first {
                    cursor.next -= 1;
                    lookup.cursor = Some(cursor);
                }
                Step::More
            }
            Err(error) => {
                let from = cursor.run.span().from;
                let page = if let RunError::Damaged { page } = error { page } else { cursor.next };
                self.condemn(&cursor.run);
                Step::Failed(KeyError::Damaged { from, page })
            }
        }
    }

    /// Asks for the first pages of the runs that come next.
    fn prefetch(&mut self, io: &mut dyn Io, tokens: Tokens, lookup: &KeyLookup) {
        let query = &lookup.query;
        let runs = lookup.sources.iter().flatten().filter_map(|source| match source {
            Source::Run(run) if source.span().meets(query.begin_ms, query.end_ms) => Some(run),
            _ => None,
        });
        for run in runs.filter(|run| run.may_contain(lookup.hash)).take(PREFETCH_RUNS) {
            if let Some(pages) = run.pages_of(lookup.hash) {
                self.pages.prefetch(io, tokens, run, *pages.end());
            }
        }
    }

    fn condemn(&mut self, run: &Run) {
        tracing::error!(file = %run.path.display(), "a key file cannot be read or is damaged; it is built again from the log");
        self.shared.state.borrow_mut().condemn(run.id);
        self.shared.notify.notify_one();
    }
}
