//! The identities of mini-batches that ended in an earlier life of a run.

use std::collections::BTreeMap;

use super::progress::bit;

/// The identity of each ended mini-batch, by index.
///
/// Dense indices take about 5 bytes each. Whatever indices a file claims, memory follows the number of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    blocks: BTreeMap<u64, Block>,
}

/// The mini-batches of one `index / 64`: a bit for each that is known, and their identities in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    known: u64,
    values: Vec<u32>,
}

impl Block {
    /// How many known mini-batches come before `index` in this block.
    fn rank(&self, index: u64) -> usize {
        (self.known & (bit(index) - 1)).count_ones() as usize
    }
}

impl Identities {
    /// Takes in the identity of a mini-batch; that of one that is known already is replaced.
    pub fn insert(&mut self, index: u64, identity: u32) {
        let block = self.blocks.entry(index / 64).or_default();
        let rank = block.rank(index);
        let known = block.known & bit(index) != 0;
        block.known |= bit(index);
        block.values.splice(rank..rank + usize::from(known), [identity]);
    }

    /// The identity of a mini-batch, `None` if it is not known.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<u32> {
        let block = self.blocks.get(&(index / 64)).filter(|block| block.known & bit(index) != 0)?;
        block.values.get(block.rank(index)).copied()
    }
}
