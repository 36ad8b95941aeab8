//! Lists through a slab: each element of the slab is in one list of a kind at most, and leaves it in the same time wherever it stands.
//!
//! ```text
//!   Chain { first: 2, last: 7 }      Links   2: (–, 5)   5: (2, 7)   7: (5, –)
//! ```
//! The chains lie wherever they are looked up; the links of all chains of a kind lie in one vector, by slab key.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// No neighbour.
const NONE: u32 = u32::MAX;

/// Where a list begins and ends; never empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

impl Chain {
    /// Slab key of the first element.
    pub(super) fn first(self) -> usize {
        self.first as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

/// The links of every chain over one slab.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Link>);

impl Links {
    /// Puts `id` at the end of the chain under `key`.
    ///
    /// # Panics
    /// If the slab has 2^32 elements.
    pub(super) fn add_to<K: Hash + Eq>(&mut self, chains: &mut FxHashMap<K, Chain>, key: K, id: usize) {
        chains
            .entry(key)
            .and_modify(|chain| *chain = self.push(Some(*chain), id))
            .or_insert_with(|| self.push(None, id));
    }

    /// Takes `id` out of the chain under `key`, and the chain if it was the last.
    ///
    /// # Panics
    /// If there is none.
    pub(super) fn take_from<K: Hash + Eq>(&mut self, chains: &mut FxHashMap<K, Chain>, key: &K, id: usize) {
        let chain = chains.get_mut(key).expect("the chain of an element");
        match self.remove(*chain, id) {
            Some(left) => *chain = left,
            None => {
                chains.remove(key);
            }
        }
    }

    /// Puts `id` at the end of the chain; `None`: it becomes the first of a new one.
    ///
    /// # Panics
    /// If the slab has 2^32 elements.
    pub(super) fn push(&mut self, chain: Option<Chain>, id: usize) -> Chain {
        let number =
            u32::try_from(id).ok().filter(|&number| number != NONE).expect("a slab of fewer than 2^32");
        if self.0.len() <= id {
            self.0.resize(id + 1, Link { before: NONE, after: NONE });
        }
        let before = chain.map_or(NONE, |chain| chain.last);
        self.0[id] = Link { before, after: NONE };
        if before != NONE {
            self.0[before as usize].after = number;
        }
        Chain { first: chain.map_or(number, |chain| chain.first), last: number }
    }

    /// Takes `id`, which is in the chain, out of it. `None`: nothing is left.
    pub(super) fn remove(&mut self, mut chain: Chain, id: usize) -> Option<Chain> {
        let Link { before, after } = self.0[id];
        match before {
            NONE => chain.first = after,
            before => self.0[before as usize].after = after,
        }
        match after {
            NONE => chain.last = before,
            after => self.0[after as usize].before = before,
        }
        (chain.first != NONE).then_some(chain)
    }

    /// Slab keys from the first on.
    pub(super) fn iter(&self, chain: Chain) -> impl Iterator<Item = usize> {
        let after = |&id: &u32| Some(self.0[id as usize].after).filter(|&next| next != NONE);
        std::iter::successors(Some(chain.first), after).map(|id| id as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(links: &Links, chain: Option<Chain>) -> Vec<usize> {
        chain.map_or_else(Vec::new, |chain| links.iter(chain).collect())
    }

    #[test]
    fn elements_leave_from_the_ends_and_the_middle() {
        let mut links = Links::default();
        let mut chain = None;
        for id in [4, 0, 7, 2] {
            chain = Some(links.push(chain, id));
        }
        for (gone, left) in [(0, vec![4, 7, 2]), (2, vec![4, 7]), (4, vec![7]), (7, vec![])] {
            chain = links.remove(chain.expect("not empty"), gone);
            assert_eq!(ids(&links, chain), left);
        }
        // Chains over the same slab do not meet, and places are used again.
        let mut one = Some(links.push(None, 7));
        let other = links.push(None, 4);
        one = Some(links.push(one, 0));
        assert_eq!((ids(&links, one), ids(&links, Some(other))), (vec![7, 0], vec![4]));
    }
}
