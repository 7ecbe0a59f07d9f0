//! By what a server proves who it is: a certificate and its key, from files or made here.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use peerdist_hal::std::rustls::crypto::CryptoProvider;
use peerdist_hal::std::rustls::crypto::ring::default_provider;
use peerdist_hal::std::rustls::pki_types::pem::{self, PemObject};
use peerdist_hal::std::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use peerdist_hal::std::rustls::sign::{CertifiedKey, SingleCertAndKey};
use peerdist_hal::std::rustls::{Error, ServerConfig};
use zeroize::Zeroizing;

/// A server with the certificates in one file, its own first, and the key in another, both in PEM form; or what is
/// wrong with which of them. It speaks TLS 1.2 and 1.3.
pub fn of_files(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let in_cert = |reason: &str| format!("--cert {}: {reason}", cert.display());
    let in_key = |reason: &str| format!("--key {}: {reason}", key.display());
    let pem = fs::read(cert).map_err(|error| in_cert(&error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| in_cert(&reason(&error, "no certificate in PEM form")))?;
    if chain.is_empty() {
        return Err(in_cert("no certificate in PEM form"));
    }
    let pem = Zeroizing::new(fs::read(key).map_err(|error| in_key(&error.to_string()))?);
    let none = if pem.windows(LOCKED.len()).any(|window| window == LOCKED) {
        "the key is encrypted, and cannot be read like that"
    } else {
        "no private key in PEM form"
    };
    let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| in_key(&reason(&error, none)))?;
    let provider = default_provider();
    let certified = CertifiedKey::from_der(chain, secret, &provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            in_key(&format!("not the key of the certificate in {}", cert.display()))
        }
        Error::InvalidCertificate(_) => in_cert(&error.to_string()),
        _ => in_key(&error.to_string()),
    })?;
    Ok(Arc::new(server(provider, certified)))
}

/// A server with a certificate for that address that is made now, and for which nobody vouches.
pub fn self_signed(address: IpAddr) -> Result<Arc<ServerConfig>, String> {
    let made = rcgen::generate_simple_self_signed([address.to_string()]);
    let made = made.map_err(|error| format!("--tls-self-signed: {error}"))?;
    let secret = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = default_provider();
    let certified = CertifiedKey::from_der(vec![made.cert.der().clone()], secret.into(), &provider);
    let certified = certified.map_err(|error| format!("--tls-self-signed: {error}"))?;
    Ok(Arc::new(server(provider, certified)))
}

/// Behind the dashes of an encrypted key.
const LOCKED: &[u8] = b"ENCRYPTED";

fn server(provider: CryptoProvider, certified: CertifiedKey) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("ring has a cipher suite for each version")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
}

fn reason(error: &pem::Error, none: &str) -> String {
    match error {
        pem::Error::NoItemsFound => none.into(),
        error => error.to_string(),
    }
}
