//! What positions are made of.

use crate::model::Destination;

use super::tables;

/// Makes positions that are never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbering {
    /// Makes the epochs; another one when acknowledged messages may have been lost.
    pub(super) seed: u64,
    /// New messages stand above it: offsets of lost ones are not given again.
    pub(super) floor: u64,
    /// Greatest offset of the logs that were forgotten.
    pub(super) base: u64,
}

impl Numbering {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, floor: 0, base: 0 }
    }

    /// After a loss: other epochs, and offsets above all that can have been given since `last`.
    pub(super) fn renewed(self, random: u64, last: u64) -> Self {
        // Whatever it is, it makes another seed.
        let seed = self.seed.wrapping_add(random | 1);
        Self { seed, floor: last.max(self.base).max(self.floor) + JUMP, ..self }
    }

    /// The numbering of a destination. Stored positions depend on it: it must not change.
    pub(super) fn epoch(&self, destination: &Destination) -> u64 {
        // FNV-1a, and the finalizer of SplitMix64.
        let mut hash = 0xcbf2_9ce4_8422_2325 ^ self.seed;
        for byte in destination.as_str().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        tables::numbers(&[self.seed, self.floor, self.base])
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let [seed, floor, base] = tables::parse_numbers(value)?;
        Some(Self { seed, floor, base })
    }
}

/// More messages than one destination can get between two fsyncs.
const JUMP: u64 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_differ_by_destination_and_seed_and_stay_for_ever() {
        let (a, b) = (Destination::internal("/topic/a"), Destination::internal("/topic/b"));
        let numbering = Numbering::new(7);
        assert_ne!(numbering.epoch(&a), numbering.epoch(&b));
        assert_ne!(numbering.epoch(&a), Numbering::new(8).epoch(&a));
        assert_eq!(numbering.epoch(&a), 14_560_525_111_344_129_386);
        assert_eq!(Numbering::decode(&numbering.encode()), Some(numbering));
    }
}
