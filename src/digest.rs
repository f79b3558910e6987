//! SHA-256 digests, written as lowercase hexadecimal.

use sha2::{Digest as _, Sha256};

/// Returns the SHA-256 digest of `bytes` as 64 lowercase hexadecimal digits.
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes.as_ref()))
}

/// Returns the first `digits` hexadecimal digits of the SHA-256 digest of `bytes`; at most 64 come back.
pub fn short_hex(bytes: impl AsRef<[u8]>, digits: usize) -> String {
    let mut text = sha256_hex(bytes);
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_agree_with_the_published_test_vector() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(short_hex("abc", 8), "ba7816bf");
    }
}
