//! A hash of a value by what it contains.
//!
//! Owns [`hash`], which is the same in every process and every version: the arm of a key must not change because the
//! host was started again or is another build. It is not a defence against keys made up to collide. Strings and bytes
//! are read eight at a time, so that a large value costs little.

use airssys_wasm::Value;

/// Odd, with its bits spread evenly: 2⁶⁴ divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of a value. Values of one type that are equal have the same; so have `0.0` and `-0.0`, and all not-a-numbers.
pub(super) fn hash(value: &Value) -> u64 {
    let mut hash = Hash(SPREAD);
    hash.value(value);
    hash.finish()
}

struct Hash(u64);

impl Hash {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(SPREAD);
    }

    fn length(&mut self, length: usize) {
        self.word(u64::try_from(length).unwrap_or(u64::MAX));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let last = rest
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.word(last);
        }
    }

    fn float(&mut self, float: f64) {
        let one_of_its_kind = if float.is_nan() {
            f64::NAN.to_bits() & !(1 << 63)
        } else if float == 0.0 {
            0
        } else {
            float.to_bits()
        };
        self.word(one_of_its_kind);
    }

    fn all(&mut self, values: &[Value]) {
        self.length(values.len());
        for value in values {
            self.value(value);
        }
    }

    /// A case with or without its payload.
    fn case(&mut self, case: u64, payload: Option<&Value>) {
        self.word(case);
        self.word(u64::from(payload.is_some()));
        if let Some(payload) = payload {
            self.value(payload);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(bool) => self.word(u64::from(*bool)),
            // Sign-extended: a number has one hash, whatever the width of its type.
            Value::S8(number) => self.word(i64::from(*number).cast_unsigned()),
            Value::S16(number) => self.word(i64::from(*number).cast_unsigned()),
            Value::S32(number) => self.word(i64::from(*number).cast_unsigned()),
            Value::S64(number) => self.word(number.cast_unsigned()),
            Value::U8(number) => self.word(u64::from(*number)),
            Value::U16(number) => self.word(u64::from(*number)),
            Value::U32(number) => self.word(u64::from(*number)),
            Value::U64(number) => self.word(*number),
            Value::F32(float) => self.float(f64::from(*float)),
            Value::F64(float) => self.float(*float),
            Value::Char(char) => self.word(u64::from(u32::from(*char))),
            Value::String(text) => self.bytes(text.as_bytes()),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::List(values) | Value::Record(values) | Value::Tuple(values) => self.all(values),
            Value::Variant(case, payload) => self.case(u64::from(*case), payload.as_deref()),
            Value::Enum(case) => self.case(u64::from(*case), None),
            Value::Option(payload) => self.case(0, payload.as_deref()),
            Value::Result(Ok(payload)) => self.case(0, payload.as_deref()),
            Value::Result(Err(payload)) => self.case(1, payload.as_deref()),
            Value::Flags(words) => {
                self.length(words.len());
                for word in words {
                    self.word(u64::from(*word));
                }
            }
            // Who has the resource decides, not a hash.
            Value::Handle(_) => self.word(0),
        }
    }

    /// Every bit of the result depends on every bit read: what is compared with a weight is its upper bits.
    fn finish(self) -> u64 {
        let mut hash = self.0;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ hash >> 33
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::choice::{Weight, key_is_candidates};
    use proptest::prelude::*;

    /// What is written here is kept by routes: it must not change.
    #[test]
    fn the_hash_of_a_value_is_the_same_for_ever() {
        let tuple = Value::Tuple(vec![Value::U32(7), Value::String("seven".into())]);
        let hashes = [
            Value::U32(0),
            Value::U64(42),
            Value::S8(-1),
            Value::String("".into()),
            Value::String("station-17".into()),
            tuple,
        ]
        .map(|value| hash(&value));
        assert_eq!(hashes, PINNED);
    }

    const PINNED: [u64; 6] = [
        894_188_583_476_301_499,
        678_027_529_912_958_255,
        7_865_431_438_700_530_670,
        894_188_583_476_301_499,
        3_034_169_449_878_840_585,
        18_252_831_074_557_826_260,
    ];

    #[test]
    fn what_differs_in_anything_differs_in_its_hash() {
        let text = |text: &str| Value::String(text.into());
        let some = |value| Value::Option(Some(Box::new(value)));
        let different = [
            text("a"),
            text("a\0"),
            text("aaaaaaaa"),
            text("aaaaaaaaa"),
            Value::List(vec![text("a"), text("b")]),
            Value::List(vec![text("b"), text("a")]),
            Value::List(vec![text("ab"), text("")]),
            Value::Option(None),
            some(Value::U32(0)),
            some(Value::U32(1)),
            Value::F64(0.5),
            Value::F64(f64::NAN),
            Value::F64(f64::INFINITY),
        ];
        for (at, one) in different.iter().enumerate() {
            for other in &different[at + 1..] {
                assert_ne!(hash(one), hash(other), "{one:?} {other:?}");
            }
        }
        assert_eq!(hash(&Value::F64(0.0)), hash(&Value::F64(-0.0)));
        assert_eq!(hash(&Value::F32(f32::NAN)), hash(&Value::F64(-f64::NAN)));
    }

    /// The candidate's share of 10,000 keys at a weight, in ten-thousandths.
    fn share(keys: impl Iterator<Item = Value>, weight: Weight) -> usize {
        keys.filter(|key| key_is_candidates(hash(key), weight))
            .count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Keys as they are: numbers in a row, and names with numbers in them.
        #[test]
        fn of_many_keys_the_share_is_near_the_weight(from in any::<u32>(), parts in 0_u16..=10_000) {
            let weight = Weight::new(parts).unwrap();
            let numbers = (0..10_000_u64).map(|n| Value::U64(u64::from(from) + n));
            let names = (0..10_000_u64).map(|n| Value::String(format!("user-{}", u64::from(from) + n).into()));
            // Five standard deviations of the worst weight, a half: 5 × 50.
            prop_assert!(share(numbers, weight).abs_diff(usize::from(parts)) <= 250);
            prop_assert!(share(names, weight).abs_diff(usize::from(parts)) <= 250);
        }
    }
}
