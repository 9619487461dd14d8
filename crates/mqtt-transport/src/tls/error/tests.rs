//! Tests of the texts of TLS errors: a text consists of words and does not show Rust's debug format.

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{Error as E, InconsistentKeys, OtherError, PeerIncompatible, PeerMisbehaved};

use super::*;

fn other(error: webpki::Error) -> CertificateError {
    CertificateError::Other(OtherError(Arc::new(error)))
}

#[test]
fn no_message_has_the_debug_text_of_rust() {
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_000_000));
    let names = |presented: &[&str]| CertificateError::NotValidForNameContext {
        expected: ServerName::try_from("a.b").unwrap(),
        presented: presented.iter().map(|name| (*name).to_owned()).collect(),
    };
    let unknown = webpki::UnsupportedSignatureAlgorithmContext {
        signature_algorithm_id: vec![6, 3, 42, 3, 4],
        supported_algorithms: Vec::new(),
    };
    let certificates = [
        CertificateError::BadEncoding,
        CertificateError::Expired,
        CertificateError::NotValidYetContext {
            time: now,
            not_before: now,
        },
        CertificateError::UnhandledCriticalExtension,
        CertificateError::UnknownRevocationStatus,
        CertificateError::BadSignature,
        CertificateError::ApplicationVerificationFailure,
        CertificateError::InvalidPurposeContext {
            required: rustls::ExtendedKeyPurpose::ServerAuth,
            presented: Vec::new(),
        },
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: vec![6, 3, 42, 3, 4],
            supported_algorithms: Vec::new(),
        },
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: Vec::new(),
            public_key_algorithm_id: vec![6, 5, 43, 129, 4, 0, 35],
        },
        names(&[]),
        names(&[
            "DnsName(\"example.org\")",
            "IpAddress(127.0.0.1)",
            "Unsupported(0x01)",
        ]),
        other(webpki::Error::CaUsedAsEndEntity),
        other(webpki::Error::UnsupportedCertVersion),
        other(webpki::Error::UnsupportedNameType),
        other(webpki::Error::TrailingData(webpki::DerTypeId::Certificate)),
        other(webpki::Error::UnsupportedCrlSignatureAlgorithmContext(
            unknown,
        )),
    ];
    let errors = [
        E::AlertReceived(AlertDescription::Unknown(1)),
        E::AlertReceived(AlertDescription::DecryptError),
        E::DecryptError,
        E::InvalidMessage(InvalidMessage::UnknownProtocolVersion),
        E::InvalidMessage(InvalidMessage::MissingData("Finished")),
        E::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
        E::PeerMisbehaved(PeerMisbehaved::BadCertChainExtensions),
        E::InconsistentKeys(InconsistentKeys::KeyMismatch),
        E::General("it failed".to_owned()),
        E::InappropriateMessage {
            expect_types: Vec::new(),
            got_type: rustls::ContentType::Alert,
        },
    ];
    let certificates = certificates.map(E::InvalidCertificate);
    for error in certificates.into_iter().chain(errors) {
        let text = TlsError::Rustls(error).to_string();
        println!("{text}");
        let is_debug = |word: &str| {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric());
            let mut letters = word.chars().skip(1);
            word.len() > 3
                && letters.clone().any(char::is_lowercase)
                && letters.any(char::is_uppercase)
        };
        assert!(
            !text.contains(['{', '}', '[', '"']) && !text.contains("(0x"),
            "{text}"
        );
        let allowed = ["extendedKeyUsage", "keyUsage", "nameConstraints"];
        let words = text.split_whitespace().filter(|word| is_debug(word));
        let words: Vec<_> = words
            .filter(|word| !allowed.iter().any(|known| word.contains(known)))
            .collect();
        assert!(words.is_empty(), "{words:?} in {text}");
    }
}
