//! [`PeerIdentity`] is the subject of a client's certificate. A server may identify the client by it.

use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Any, Decode};
use x509_cert::name::Name;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Subject of a certificate that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Common name of the subject, or `None` if the subject has none.
    pub common_name: Option<String>,
    /// The whole subject in the form of RFC 4514: `CN=sensor 7,O=Example`.
    pub subject: String,
}

impl PeerIdentity {
    /// Reads the subject of a certificate in DER. Returns `None` if the certificate is malformed.
    pub(crate) fn of_certificate(der: &[u8]) -> Option<Self> {
        let subject = Certificate::from_der(der).ok()?.tbs_certificate.subject;
        Some(Self {
            common_name: common_name(&subject),
            subject: subject.to_string(),
        })
    }
}

/// Returns the first common name of a subject.
pub(super) fn common_name(subject: &Name) -> Option<String> {
    let mut attributes = subject.0.iter().flat_map(|name| name.0.iter());
    let common_name = attributes.find(|attribute| attribute.oid == COMMON_NAME);
    common_name.and_then(|attribute| text(&attribute.value))
}

// X.509 allows several string types in names. Old tools write the last two.
fn text(value: &Any) -> Option<String> {
    let utf8 = Utf8StringRef::try_from(value).map(|text| text.as_str().to_owned());
    utf8.or_else(|_| PrintableStringRef::try_from(value).map(|text| text.as_str().to_owned()))
        .or_else(|_| Ia5StringRef::try_from(value).map(|text| text.as_str().to_owned()))
        .or_else(|_| TeletexStringRef::try_from(value).map(|text| text.as_str().to_owned()))
        .ok()
}
