//! The assertion by which an App proves who it is: a JWT, signed with RS256 (RFC 7519, RFC 7515, RFC 7518 section 3.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use crate::secret::Secret;

/// How far the assertion is dated back, for servers whose clock is behind.
const BACK: SignedDuration = SignedDuration::from_secs(60);
/// How long it is valid. GitHub takes at most ten minutes; the rest is for servers whose clock is behind.
const AHEAD: SignedDuration = SignedDuration::from_mins(9);

/// Returns the assertion for the App `issuer`; the error says what is wrong with the key.
pub(super) fn assertion(issuer: &str, key: &Secret, now: Timestamp) -> Result<Secret, &'static str> {
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|_| "it is no private key in PEM form")?;
    let key = any_supported_type(&key).map_err(|_| "it is not a usable RSA key of at least 2048 bits")?;
    let signer = key
        .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
        .ok_or("it is not an RSA key, which RS256 needs")?;
    let encode = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let header = encode(&json!({"alg": "RS256", "typ": "JWT"}));
    let claims = json!({
        "iat": (now - BACK).as_second(), "exp": (now + AHEAD).as_second(), "iss": issuer,
    });
    let signed = format!("{header}.{}", encode(&claims));
    let signature = signer.sign(signed.as_bytes()).map_err(|_| "it cannot sign")?;
    Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_sign_is_named() {
        let now = Timestamp::UNIX_EPOCH;
        let wrong = |pem: &str| assertion("1", &Secret::new(pem), now).unwrap_err();
        assert!(wrong("nothing").contains("no private key"));
        let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert!(wrong(&elliptic).contains("not an RSA key"));
    }
}
