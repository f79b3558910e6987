//! What a client needs to reach the server, and the server to prove itself: a certificate authority of our own, a
//! certificate for loopback, one token, and the kubeconfig that says all that.
//!
//! Everything lies in one folder that its owner alone can enter. The authority and the token live as long as the
//! folder; the server's certificate is made anew at each start, so none ever runs out on disk.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::secret::Secret;

/// The files of the folder.
const AUTHORITY_FILE: &str = "ca.crt";
const AUTHORITY_KEY_FILE: &str = "ca.key";
const TOKEN_FILE: &str = "token";

/// What the server's certificate is for.
const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "kubernetes.default.svc"];

/// How long the authority is valid.
const AUTHORITY_YEARS: i64 = 20;

/// How long one start's certificate is valid: the longest time that every TLS library accepts.
const CERTIFICATE_DAYS: i64 = 820;

/// Why credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file or the folder cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key or certificate cannot be made or read.
    #[error("cannot {action}")]
    Certificate {
        /// What was attempted.
        action: &'static str,
        /// What the library said.
        source: rcgen::Error,
    },
    /// The TLS library takes no such certificate.
    #[error("the certificate cannot be used for TLS")]
    Tls(#[source] rustls::Error),
    /// A token file holds no token.
    #[error("{path} holds no token; delete it to have a new one made")]
    Token {
        /// The file.
        path: PathBuf,
    },
}

/// The authority, the server's certificate and the token of one folder.
#[derive(Debug)]
pub struct Credentials {
    authority: String,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    token: Secret,
}

impl Credentials {
    /// Reads the credentials of `dir`, and makes those that are missing. The folder is made with mode 0700, its
    /// secret files with 0600. `now` is the first instant at which new certificates are valid, less one day. The server's
    /// is good for this machine's usual names, and for `hosts`: names or addresses under which clients reach it.
    ///
    /// # Errors
    /// When a file cannot be read or written, a key in it is broken, or a host is neither a name nor an address.
    pub fn load_or_create(dir: &Path, now: Timestamp, hosts: &[String]) -> Result<Self, CredentialsError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))
            .map_err(|source| CredentialsError::File { action: "make", path: dir.to_owned(), source })?;
        let (key_file, file) = (dir.join(AUTHORITY_KEY_FILE), dir.join(AUTHORITY_FILE));
        let known_key = read_optional(&key_file)?;
        let is_new = known_key.is_none();
        let authority_key = if let Some(pem) = known_key {
            KeyPair::from_pem(&pem).map_err(fault("read the authority's key"))?
        } else {
            let key = KeyPair::generate().map_err(fault("make the authority's key"))?;
            write_private(&key_file, key.serialize_pem().as_bytes())?;
            key
        };
        // A certificate whose key is lost is of no use any more.
        let known = if is_new { None } else { read_optional(&file)? };
        let authority = if let Some(pem) = known {
            pem
        } else {
            let certificate =
                authority_params(now).self_signed(&authority_key).map_err(fault("make the authority"))?;
            write_private(&file, certificate.pem().as_bytes())?;
            certificate.pem()
        };
        let key = KeyPair::generate().map_err(fault("make the server's key"))?;
        let issuer = Issuer::new(authority_params(now), authority_key);
        let certificate = server_params(now, hosts)?
            .signed_by(&key, &issuer)
            .map_err(fault("make the server's certificate"))?;
        Ok(Self {
            authority,
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
            token: load_token(&dir.join(TOKEN_FILE))?,
        })
    }

    /// Returns the token that every request has to bear.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// Returns the authority's certificate as PEM.
    pub fn authority_pem(&self) -> &str {
        &self.authority
    }

    /// Returns the kubeconfig for the server at `url`, such as `https://127.0.0.1:6443`.
    pub fn kubeconfig(&self, url: &str) -> Secret {
        let authority = STANDARD.encode(&self.authority);
        let token = self.token.expose();
        Secret::new(format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: kelos\n\
             \x20 cluster:\n\
             \x20   server: {url}\n\
             \x20   certificate-authority-data: {authority}\n\
             users:\n\
             - name: kelos\n\
             \x20 user:\n\
             \x20   token: {token}\n\
             contexts:\n\
             - name: kelos\n\
             \x20 context:\n\
             \x20   cluster: kelos\n\
             \x20   user: kelos\n\
             \x20   namespace: default\n\
             current-context: kelos\n"
        ))
    }

    /// Writes the kubeconfig for the server at `url` to `path`, readable by its owner alone. A reader sees the old
    /// file or the new one, never a part.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_kubeconfig(&self, path: &Path, url: &str) -> Result<(), CredentialsError> {
        write_private(path, self.kubeconfig(url).expose().as_bytes())
    }

    /// Returns the TLS configuration of the server: HTTP/2 and HTTP/1.1, no client certificates.
    pub(crate) fn tls(&self) -> Result<rustls::ServerConfig, CredentialsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CredentialsError::Tls)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(self.key.clone_key()))
            .map_err(CredentialsError::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn fault(action: &'static str) -> impl Fn(rcgen::Error) -> CredentialsError {
    move |source| CredentialsError::Certificate { action, source }
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let date = |days: i64| {
        let start = now.to_zoned(TimeZone::UTC).date();
        let date = start.saturating_add(days.days());
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    // A day of grace for clocks that are behind.
    params.not_before = date(-1);
    params.not_after = date(days);
}

/// The authority's parameters: the same at each start, so that what it signed before stays signed.
fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kelos");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, AUTHORITY_YEARS * 365);
    params
}

fn server_params(now: Timestamp, hosts: &[String]) -> Result<CertificateParams, CredentialsError> {
    let mut names: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
    names.extend(hosts.iter().filter(|host| !NAMES.contains(&host.as_str())).cloned());
    let mut params = CertificateParams::new(names).map_err(fault("name the server"))?;
    params.distinguished_name.push(DnType::CommonName, "kelos-apiserver");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, CERTIFICATE_DAYS);
    Ok(params)
}

fn load_token(path: &Path) -> Result<Secret, CredentialsError> {
    if let Some(text) = read_optional(path)? {
        let token = text.trim();
        if token.is_empty() {
            return Err(CredentialsError::Token { path: path.to_owned() });
        }
        return Ok(Secret::new(token));
    }
    // Two version 4 UUIDs carry 244 random bits.
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    write_private(path, token.as_bytes())?;
    Ok(Secret::new(token))
}

fn read_optional(path: &Path) -> Result<Option<String>, CredentialsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CredentialsError::File { action: "read", path: path.to_owned(), source }),
    }
}

/// Writes a file that its owner alone can read, by way of a new file that takes the old one's name.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CredentialsError> {
    let fault = |source| CredentialsError::File { action: "write", path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
    let fresh = path.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, path));
    if let Err(error) = written {
        // The write failed; what is left of it is of no use, and its removal may fail for the same reason.
        drop(fs::remove_file(&fresh));
        return Err(fault(error));
    }
    Ok(())
}
