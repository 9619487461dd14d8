//! The authorities that may sign the certificate of a peer.

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor};

/// Authorities that are trusted.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    /// Those that the user has named come first.
    anchors: Vec<TrustAnchor<'static>>,
    /// The number of authorities that the user has named.
    named: usize,
}

impl Authorities {
    /// Takes the certificates that the user has named and those of the system. Those that cannot be read are left out:
    /// a system always has some, and the ones that the user has named were read before.
    pub(super) fn new(named: &[CertificateDer<'_>], of_system: &[CertificateDer<'_>]) -> Self {
        let mut authorities = Self::default();
        authorities.add(named);
        authorities.named = authorities.anchors.len();
        authorities.add(of_system);
        authorities
    }

    fn add(&mut self, certificates: &[CertificateDer<'_>]) {
        for certificate in certificates {
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate) {
                self.anchors.push(anchor.to_owned());
            }
        }
    }

    /// Returns all authorities.
    pub(super) fn all(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// Returns the authorities that the user has named: only they may have issued legacy certificates.
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
