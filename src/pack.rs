//! Many values that are alike, kept small: each as its difference from one that came before it.
//!
//! Objects of one kind differ in names, digests and times, so that a difference takes a tenth of the value. To pack and
//! to unpack one takes about a microsecond.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The longest value that is packed: what comes earlier is out of reach for LZ4.
const LONGEST: usize = 64 << 10;

/// How much shorter a difference is than its value, at least: otherwise the value is kept whole.
const LEAST_GAIN: usize = 3;

/// A value, whole or as a difference; cheap to clone.
#[derive(Clone)]
pub struct Packed(Form);

#[derive(Clone)]
enum Form {
    Whole(Bytes),
    Difference(Arc<Difference>),
}

struct Difference {
    /// An LZ4 block.
    block: Box<[u8]>,
    /// The dictionary of the block: a value that was kept whole.
    from: Bytes,
    /// Length of the value in bytes.
    length: usize,
}

impl Packed {
    /// Returns the value as it is.
    pub fn whole(value: Bytes) -> Self {
        Self(Form::Whole(value))
    }

    /// Returns whether the value is kept as it is.
    pub fn is_whole(&self) -> bool {
        matches!(self.0, Form::Whole(_))
    }

    /// Returns the value.
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Form::Whole(value) => value.clone(),
            Form::Difference(difference) => {
                let Difference { block, from, length } = &**difference;
                let value = lz4_flex::block::decompress_with_dict(block, *length, from);
                value.expect("because the block was made from this dictionary").into()
            }
        }
    }
}

impl fmt::Debug for Packed {
    /// Writes the value, however it is kept.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().fmt(formatter)
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Packed {}

/// Packs values that are alike. What cannot be told as a difference is kept whole, and is what the next ones are
/// compared with; the memory of all is never much more than that of the values.
#[derive(Debug, Default)]
pub struct Packer {
    // Held to take or to replace it.
    last_whole: Mutex<Bytes>,
}

impl Packer {
    /// Returns `value` packed.
    pub fn pack(&self, value: &[u8]) -> Packed {
        let from = self.last_whole().clone();
        if !from.is_empty() && value.len() <= LONGEST {
            let block = lz4_flex::block::compress_with_dict(value, &from);
            if block.len() * LEAST_GAIN <= value.len() {
                let (block, length) = (block.into_boxed_slice(), value.len());
                return Packed(Form::Difference(Arc::new(Difference { block, from, length })));
            }
        }
        let whole = Bytes::copy_from_slice(value);
        if whole.len() <= LONGEST {
            *self.last_whole() = whole.clone();
        }
        Packed::whole(whole)
    }

    fn last_whole(&self) -> MutexGuard<'_, Bytes> {
        self.last_whole.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: usize) -> String {
        let fields: Vec<String> =
            (0..50).map(|field| format!("\"field-{field}\":{}", field * field)).collect();
        format!("{{\"name\":{name},{}}}", fields.join(","))
    }

    #[test]
    fn values_that_are_alike_take_little_and_come_back() {
        let packer = Packer::default();
        let packed: Vec<Packed> = (0..100).map(|name| packer.pack(text(name).as_bytes())).collect();
        for (name, packed) in packed.iter().enumerate() {
            assert_eq!(packed.to_bytes(), text(name));
            assert_eq!(packed.is_whole(), name == 0, "{name}");
            assert_eq!(*packed, Packed::whole(text(name).into()));
        }
        assert_ne!(packed[1], packed[2]);
        let Form::Difference(difference) = &packed[99].0 else { panic!("it is a difference") };
        assert!(difference.block.len() < text(99).len() / 10, "{} bytes", difference.block.len());
    }

    #[test]
    fn values_that_are_not_alike_stay_whole() {
        let packer = Packer::default();
        let mut random = fastrand::Rng::with_seed(7);
        let values: Vec<Vec<u8>> = [0, 1, 300, LONGEST, LONGEST + 1, 200_000, 300]
            .into_iter()
            .map(|length| (0..length).map(|_| random.u8(..)).collect())
            .collect();
        for value in &values {
            let packed = packer.pack(value);
            assert!(packed.is_whole());
            assert_eq!(packed.to_bytes(), *value);
        }
        // Only what is in reach of a difference is compared with.
        let last = values.last().unwrap();
        assert_eq!(*packer.last_whole(), *last);
        assert!(!packer.pack(last).is_whole());
        drop(packer.pack(&values[5]));
        assert_eq!(*packer.last_whole(), *last);
    }

    #[test]
    fn a_new_sort_of_value_is_what_the_next_are_compared_with() {
        let packer = Packer::default();
        drop(packer.pack(text(1).as_bytes()));
        let other = |name: usize| {
            (0..200).map(|word| format!("word {} of {name};", word * 7_919)).collect::<String>()
        };
        assert!(packer.pack(other(1).as_bytes()).is_whole());
        let packed = packer.pack(other(1_000_000).as_bytes());
        assert_eq!(packed.to_bytes(), other(1_000_000));
        assert_eq!(*packer.last_whole(), other(1));
    }
}
