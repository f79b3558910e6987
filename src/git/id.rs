//! Names of git objects.

use std::fmt;
use std::str::FromStr;

/// A text is no object name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object name has 40 hexadecimal digits")]
pub struct ParseIdError;

macro_rules! object_id {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 20]);

        impl $name {
            /// Reads 40 hexadecimal digits, in either case.
            pub fn parse(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; 20];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError)?;
                Ok(Self(bytes))
            }

            /// Takes the 20 bytes of an id.
            pub const fn from_bytes(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }

            /// Returns the 20 bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 20] {
                &self.0
            }

            /// Returns the first twelve digits, for people.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..6])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    };
}

object_id!(
    /// Names a commit.
    CommitId
);
object_id!(
    /// Names a tree: two equal ids mean two equal folders, whatever the commits.
    TreeId
);
object_id!(
    /// Names a blob: two equal ids mean two equal files.
    BlobId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_and_written_back() {
        let text = "0123456789abcdef0123456789ABCDEF01234567";
        let id = CommitId::parse(text).unwrap();
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        assert_eq!(id.short(), "0123456789ab");
        assert_eq!(CommitId::from_bytes(*id.as_bytes()), id);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "0123456789abcdef", "g123456789abcdef0123456789abcdef01234567", "HEAD"] {
            assert_eq!(CommitId::parse(text), Err(ParseIdError), "{text:?}");
        }
    }
}
