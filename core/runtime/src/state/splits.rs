//! A source's splits, in order and by id.

use std::collections::{BTreeMap, HashMap};

use tidegate_core::SplitId;

use super::SplitState;

/// Splits in the order in which they came, each found by its id.
#[derive(Debug, Clone, Default)]
pub struct Splits {
    ordered: BTreeMap<u64, SplitState>,
    places: HashMap<SplitId, u64>,
    next: u64,
}

impl Splits {
    /// The split of this id.
    pub fn get(&self, id: &SplitId) -> Option<&SplitState> {
        self.ordered.get(self.places.get(id)?)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &SplitState> {
        self.ordered.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ordered.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    pub(super) fn get_mut(&mut self, id: &SplitId) -> Option<&mut SplitState> {
        self.ordered.get_mut(self.places.get(id)?)
    }

    /// Adds one at the end; it takes the place of one with the same id.
    pub(super) fn push(&mut self, split: SplitState) {
        self.remove(&split.split.id);
        self.places.insert(split.split.id.clone(), self.next);
        self.ordered.insert(self.next, split);
        self.next += 1;
    }

    pub(super) fn remove(&mut self, id: &SplitId) {
        if let Some(place) = self.places.remove(id) {
            self.ordered.remove(&place);
        }
    }
}

impl PartialEq for Splits {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl IntoIterator for Splits {
    type Item = SplitState;
    type IntoIter = std::collections::btree_map::IntoValues<u64, SplitState>;

    fn into_iter(self) -> Self::IntoIter {
        self.ordered.into_values()
    }
}

impl<'a> IntoIterator for &'a Splits {
    type Item = &'a SplitState;
    type IntoIter = std::collections::btree_map::Values<'a, u64, SplitState>;

    fn into_iter(self) -> Self::IntoIter {
        self.ordered.values()
    }
}
