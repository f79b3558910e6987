//! A JSON reader that notes fields given twice, with the texts of the real server.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A decoded document.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The document; of a field given twice the last value holds.
    pub value: Value,
    /// The paths of fields given twice, in the order of the text, each once.
    pub duplicates: Vec<String>,
}

/// Reads one JSON document.
///
/// Numbers become what Go makes of them: an integer that fits 64 bits stays one, and so does a float without fraction,
/// because it is written as an integer again.
pub fn decode(text: &[u8]) -> Result<Decoded, serde_json::Error> {
    decode_at(text, 0)
}

/// Reads one JSON document that will lie in so many objects and lists of another one.
pub(in crate::apiserver) fn decode_at(text: &[u8], depth: usize) -> Result<Decoded, serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let place = Place { step: None, depth, duplicates: &mut duplicates };
    let value = place.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Decoded { value, duplicates })
}

/// The place in the document that is read next.
struct Place<'a> {
    step: Option<&'a Step<'a>>,
    /// How many objects and lists the place lies in.
    depth: usize,
    duplicates: &'a mut Vec<String>,
}

/// The way to a place. It is spelled only when something has to be said about the place: documents of clients can make
/// their names long and their nesting deep.
struct Step<'a> {
    before: Option<&'a Self>,
    part: Part<'a>,
}

enum Part<'a> {
    Field(&'a str),
    Item(usize),
}

impl Step<'_> {
    fn spell(&self) -> String {
        let before = self.before.map(Step::spell).unwrap_or_default();
        match self.part {
            Part::Field(name) if before.is_empty() => name.to_owned(),
            Part::Field(name) => format!("{before}.{name}"),
            Part::Item(index) => format!("{before}[{index}]"),
        }
    }
}

impl Place<'_> {
    fn enter<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth >= DEPTH_LIMIT { Err(E::custom("exceeded max depth")) } else { Ok(self.depth + 1) }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        match i64::try_from(number) {
            Ok(number) => Ok(Value::from(number)),
            // Beyond 64 bits with a sign the real server goes on in floats.
            Err(_) => {
                number.to_string().parse().map_err(E::custom).and_then(|float: f64| self.visit_f64(float))
            }
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        if let Some(integer) = as_integer(number) {
            return Ok(Value::from(integer));
        }
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut items = Vec::new();
        loop {
            let step = Step { before: self.step, part: Part::Item(items.len()) };
            let place = Place { step: Some(&step), depth, duplicates: &mut *self.duplicates };
            match sequence.next_element_seed(place)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let step = Step { before: self.step, part: Part::Field(&name) };
            if fields.contains_key(&name) {
                let path = step.spell();
                if !self.duplicates.contains(&path) {
                    if self.duplicates.len() == DUPLICATES_LIMIT {
                        return Err(A::Error::custom("too many fields are given twice"));
                    }
                    self.duplicates.push(path);
                }
            }
            let place = Place { step: Some(&step), depth, duplicates: &mut *self.duplicates };
            let value = map.next_value_seed(place)?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

/// A document with more faults than this is refused as a whole.
const DUPLICATES_LIMIT: usize = 100;

/// Documents nest no deeper. What is stored has to be read again, with the owners of its fields, which nest a few levels
/// deeper than the object; a reader of JSON gives up at 128.
pub(in crate::apiserver) const DEPTH_LIMIT: usize = 100;

#[expect(clippy::cast_possible_truncation, reason = "checked to be integral and far inside the range")]
#[expect(clippy::float_cmp, reason = "an integral float is equal to its integral part, exactly")]
fn as_integer(number: f64) -> Option<i64> {
    (number.trunc() == number && number.abs() < 9e18).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_given_twice_are_noted_once_and_the_last_value_holds() {
        let decoded = decode(br#"{"a":1,"a":2,"a":3,"b":[{"c":1,"c":2}],"d":{"e":{"f":1,"f":1}}}"#).unwrap();
        assert_eq!(decoded.value, json!({"a": 3, "b": [{"c": 2}], "d": {"e": {"f": 1}}}));
        assert_eq!(decoded.duplicates, ["a", "b[0].c", "d.e.f"]);
    }

    #[test]
    fn nesting_has_an_end_and_long_names_cost_nothing() {
        let nested =
            |depth: usize, inside: &str| format!("{}{inside}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(decode(nested(DEPTH_LIMIT, "1").as_bytes()).is_ok());
        let refusal = decode(nested(DEPTH_LIMIT + 1, "1").as_bytes()).unwrap_err();
        assert!(refusal.to_string().starts_with("exceeded max depth"), "{refusal}");
        // Spelling the way to each of the many fields below long names would copy gigabytes.
        let long = "n".repeat(20_000);
        let many: Vec<String> = (0..100_000).map(|number| format!("\"{number}\":0")).collect();
        let mut text = format!("{{{}}}", many.join(","));
        for _ in 0..DEPTH_LIMIT - 1 {
            text = format!("{{\"{long}\":{text}}}");
        }
        let mut decoded = decode(text.as_bytes()).unwrap().value;
        for _ in 0..DEPTH_LIMIT - 1 {
            decoded = decoded[&long].take();
        }
        assert_eq!(decoded.as_object().unwrap().len(), 100_000);
    }

    #[test]
    fn numbers_become_what_go_makes_of_them() {
        let decoded = decode(br"[1, 1.0, 1.5, 1e3, -0.0, 9223372036854775808, 1e30]").unwrap();
        assert_eq!(decoded.value, json!([1, 1, 1.5, 1000, 0, 9_223_372_036_854_775_808.0, 1e30]));
    }

    #[test]
    fn broken_documents_are_errors() {
        for text in [&b"{"[..], b"{}{}", b"", b"{\"a\":1e999}", b"\xff"] {
            assert!(decode(text).is_err());
        }
    }
}
