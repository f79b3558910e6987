//! The macro behind every closed set of words on the wire.
//!
//! A word is written once, with its meaning; reading, writing, schema and reference pages follow from it.

/// Defines an enum whose variants are words on the wire.
///
/// The enum gets `ALL`, `as_str`, `meaning`, `Display`, `FromStr`, serde and `JsonSchema` implementations.
/// The doc comment of a variant is also its text in the reference pages.
macro_rules! closed_set {
    (
        $(#[doc = $about:literal])+
        $(#[default = $default:ident])?
        $vis:vis enum $Name:ident {
            $( $(#[doc = $meaning:literal])+ $Variant:ident = $text:literal ),+ $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $Name {
            $( $(#[doc = $meaning])+ $Variant ),+
        }

        impl $Name {
            /// Every member, in the order of the reference page.
            $vis const ALL: &'static [Self] = &[ $( Self::$Variant ),+ ];

            /// Returns the word on the wire.
            $vis const fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $text ),+ }
            }

            /// Returns what the word means, in one or more sentences.
            $vis fn meaning(self) -> &'static str {
                match self { $( Self::$Variant => concat!($($meaning),+).trim_start() ),+ }
            }
        }

        $(
            impl Default for $Name {
                fn default() -> Self {
                    Self::$default
                }
            }
        )?

        impl std::fmt::Display for $Name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $Name {
            type Err = $crate::api::closed_set::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|member| member.as_str() == text).ok_or_else(|| {
                    $crate::api::closed_set::UnknownWord {
                        word: text.to_owned(),
                        known: Self::ALL.iter().map(|member| member.as_str()).collect(),
                    }
                })
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize<'de>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $Name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let words: Vec<&str> = Self::ALL.iter().map(|member| member.as_str()).collect();
                schemars::json_schema!({ "type": "string", "enum": words })
            }
        }
    };
}

pub(crate) use closed_set;

/// A word that is not a member of a closed set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown value {word:?}, expected one of: {}", known.join(", "))]
pub struct UnknownWord {
    /// The word as it was given.
    pub word: String,
    /// The members of the set.
    pub known: Vec<&'static str>,
}

#[cfg(test)]
mod tests {
    closed_set! {
        /// Two words.
        #[default = Left]
        pub(crate) enum Side {
            /// The left side.
            Left = "left",
            /// The right side,
            /// in two lines.
            Right = "right-hand",
        }
    }

    #[test]
    fn a_word_reads_and_writes_as_itself_and_nothing_else() {
        assert_eq!("right-hand".parse(), Ok(Side::Right));
        assert_eq!(serde_json::to_value(Side::Right).unwrap(), serde_json::json!("right-hand"));
        assert_eq!(serde_json::from_str::<Side>("\"left\"").unwrap(), Side::default());
        let error = "Left".parse::<Side>().unwrap_err();
        assert_eq!(error.to_string(), "unknown value \"Left\", expected one of: left, right-hand");
        assert_eq!(format!("{:>6}|", Side::Left), "  left|");
        assert_eq!(Side::Right.meaning(), "The right side, in two lines.");
    }
}
