//! [`Authorities`] is the list of certificate authorities (CAs) that this end trusts.

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor};

/// Authorities that may sign the certificate of a peer.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    /// Authorities that the user has configured, followed by those of the operating system.
    anchors: Vec<TrustAnchor<'static>>,
    /// Number of authorities that the user has configured.
    named: usize,
}

impl Authorities {
    /// Reads the certificates that the user has configured, and those of the operating system. Certificates that webpki
    /// cannot parse are skipped: many systems have some. The certificates of the user have been checked before.
    pub(super) fn new(named: &[CertificateDer<'_>], of_system: &[CertificateDer<'_>]) -> Self {
        let mut authorities = Self::default();
        authorities.add(named);
        authorities.named = authorities.anchors.len();
        authorities.add(of_system);
        authorities
    }

    fn add(&mut self, certificates: &[CertificateDer<'_>]) {
        for certificate in certificates {
            // A trust anchor is a name, a key and name constraints. webpki does not check the dates of a trusted
            // certificate.
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate) {
                self.anchors.push(anchor.to_owned());
            }
        }
    }

    /// Returns all authorities.
    pub(super) fn all(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// Returns the authorities that the user has configured. Only they may have issued legacy certificates.
    pub(super) fn named(&self) -> &[TrustAnchor<'static>] {
        self.anchors.get(..self.named).unwrap_or_default()
    }

    /// Returns `true` if the list has authorities of the operating system.
    pub(super) fn has_others(&self) -> bool {
        self.named < self.anchors.len()
    }

    /// Returns `true` if the list is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Returns the names of all authorities. A server sends them to its clients.
    pub(super) fn names(&self) -> Vec<DistinguishedName> {
        let subjects = self.anchors.iter().map(|anchor| anchor.subject.as_ref());
        subjects.map(DistinguishedName::in_sequence).collect()
    }
}
