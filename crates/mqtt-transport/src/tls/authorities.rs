//! The trusted authorities.

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor};

/// The authorities that may sign the certificate of a peer.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    /// The authorities that the user has named, followed by those of the system.
    anchors: Vec<TrustAnchor<'static>>,
    /// The number of authorities that the user has named.
    named: usize,
}

impl Authorities {
    /// Takes the certificates that the user has named and those of the system. Certificates that webpki cannot read are
    /// left out: systems usually have some, and those that the user has named were checked before.
    pub(super) fn new(named: &[CertificateDer<'_>], of_system: &[CertificateDer<'_>]) -> Self {
        let mut authorities = Self::default();
        authorities.add(named);
        authorities.named = authorities.anchors.len();
        authorities.add(of_system);
        authorities
    }

    fn add(&mut self, certificates: &[CertificateDer<'_>]) {
        for certificate in certificates {
            // An anchor is a name, a key and name constraints: webpki does not check the dates of a trusted certificate.
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate) {
                self.anchors.push(anchor.to_owned());
            }
        }
    }

    /// Returns all authorities.
    pub(super) fn all(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// Returns the authorities that the user has named. Only they may have issued legacy certificates.
    pub(super) fn named(&self) -> &[TrustAnchor<'static>] {
        self.anchors.get(..self.named).unwrap_or_default()
    }

    /// Returns `true` if there are authorities that the user has not named.
    pub(super) fn has_others(&self) -> bool {
        self.named < self.anchors.len()
    }

    /// Returns `true` if there is no authority.
    pub(super) fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Returns the names of all authorities, which a server sends to its clients.
    pub(super) fn names(&self) -> Vec<DistinguishedName> {
        let subjects = self.anchors.iter().map(|anchor| anchor.subject.as_ref());
        subjects.map(DistinguishedName::in_sequence).collect()
    }
}
