//! Certificates that OpenSSL accepts, but that webpki, the verifier of rustls, cannot parse or rejects.
//!
//! mosquitto-tls(7) recommends `openssl x509 -req` without a file of extensions. This command makes certificates of
//! X.509 version 1, with the host in the common name. `openssl x509 -req -extensions v3_ca` makes server certificates
//! with `CA:TRUE`. Many devices have such certificates, and replacing them takes time.
//!
//! This module verifies nothing, so that webpki stays the only verifier. It rewrites a legacy certificate into one that
//! webpki can parse. The new certificate has the same serial number, issuer, dates, subject, key and extensions. It has
//! version 3, does not have `CA:TRUE`, and has the host of the common name as subject alternative name if it had none.
//! webpki then makes all its usual checks: the path to the authority, dates, purposes, name constraints, revocation
//! lists and the host. The issuer has signed the original bytes. Therefore [`OverOriginal`] replaces the rewritten
//! bytes by the original ones when webpki verifies the issuer's signature. No check is omitted:
//!
//! - The rewritten certificate contains nothing that the issuer has not signed.
//! - Without `CA:TRUE` the certificate has fewer permissions: it cannot sign other certificates. A certificate with
//!   `CA:TRUE` whose `keyUsage` excludes signatures in handshakes is rejected, as OpenSSL does.
//! - The common name is used only if the certificate has no subject alternative name at all.
//!
//! The caller accepts legacy certificates only from authorities that the user has configured.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName,
    SignatureVerificationAlgorithm,
};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{self, Decode, Encode, Length, Reader, SliceReader, Tag, Tagged};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::name::Name;

use super::identity::common_name;

/// The end of a connection that sends a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// Legacy certificate, rewritten for webpki.
#[derive(Debug)]
pub(super) struct LegacyCertificate {
    /// The whole rewritten certificate.
    readable: CertificateDer<'static>,
    /// The part of `readable` that an issuer would sign.
    rewritten: Vec<u8>,
    /// The original bytes that the issuer has signed.
    signed: Vec<u8>,
    outdated: Outdated,
    /// `false` if the certificate has `CA:TRUE` and its key usage excludes signatures in handshakes.
    may_sign_handshakes: bool,
}

/// Properties that make a certificate a legacy one. The display form is a warning whose subject is the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outdated {
    role: Role,
    /// Version of X.509, if it is 1 or 2.
    version: Option<u8>,
    /// Set if the certificate has `CA:TRUE`.
    is_authority: bool,
    /// Set if the host is in the common name, and the certificate has no subject alternative name.
    has_only_common_name: bool,
}

impl LegacyCertificate {
    /// Rewrites a certificate. Returns `None` if the certificate is not a legacy one, or if it is malformed. webpki
    /// rejects a malformed certificate.
    pub(super) fn read(certificate: &CertificateDer<'_>, role: Role) -> Option<Self> {
        let fields = Fields::read(certificate).ok()?;
        fields.rewrite(role).ok().flatten()
    }

    /// Returns the rewritten certificate, which webpki can parse.
    pub(super) fn readable(&self) -> &CertificateDer<'static> {
        &self.readable
    }

    /// Returns the properties that make the certificate a legacy one.
    pub(super) fn outdated(&self) -> Outdated {
        self.outdated
    }

    /// Returns `false` if the certificate has `CA:TRUE` and its key usage excludes signatures in handshakes.
    pub(super) fn may_sign_handshakes(&self) -> bool {
        self.may_sign_handshakes
    }

    /// Returns an algorithm that verifies the issuer's signature over the original bytes.
    pub(super) fn over_original(
        &self,
        algorithm: &'static dyn SignatureVerificationAlgorithm,
    ) -> OverOriginal<'_> {
        OverOriginal {
            algorithm,
            certificate: self,
        }
    }
}

/// Signature algorithm that replaces the rewritten bytes of a certificate by the original ones before it verifies.
#[derive(Debug)]
pub(super) struct OverOriginal<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    certificate: &'a LegacyCertificate,
}

impl SignatureVerificationAlgorithm for OverOriginal<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        // webpki also verifies intermediate certificates and revocation lists. Their bytes are not replaced.
        let message = if message == self.certificate.rewritten {
            &self.certificate.signed
        } else {
            message
        };
        self.algorithm
            .verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// Fields of a certificate. Each field includes its DER tag and length.
struct Fields<'a> {
    /// The part that the issuer signs.
    signed: &'a [u8],
    /// Algorithm of the signature, and the signature.
    signature: [&'a [u8]; 2],
    version: u8,
    /// Serial number, algorithm, issuer, dates, subject and key.
    body: [&'a [u8]; 6],
    extensions: Vec<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(certificate: &'a [u8]) -> der::Result<Self> {
        let mut whole = SliceReader::new(contents(certificate, Tag::Sequence)?)?;
        let signed = whole.tlv_bytes()?;
        let signature = [whole.tlv_bytes()?, whole.tlv_bytes()?];
        whole.finish(())?;
        let mut reader = SliceReader::new(contents(signed, Tag::Sequence)?)?;
        let version = match reader.peek_byte() {
            Some(VERSION) => u8::from_der(AnyRef::decode(&mut reader)?.value())?.saturating_add(1),
            _ => 1, // The default.
        };
        let mut body = [&[][..]; 6];
        for field in &mut body {
            *field = reader.tlv_bytes()?;
        }
        while let Some(ISSUER_UNIQUE_ID | SUBJECT_UNIQUE_ID) = reader.peek_byte() {
            reader.tlv_bytes()?; // Version 2 has these fields; webpki cannot parse them.
        }
        let mut extensions = Vec::new();
        if reader.peek_byte() == Some(EXTENSIONS) {
            let list = AnyRef::decode(&mut reader)?.value();
            let mut list = SliceReader::new(contents(list, Tag::Sequence)?)?;
            while !list.is_finished() {
                extensions.push(list.tlv_bytes()?);
            }
        }
        reader.finish(())?;
        Ok(Self {
            signed,
            signature,
            version,
            body,
            extensions,
        })
    }

    /// Returns the rewritten certificate, or `None` if this certificate is not a legacy one.
    fn rewrite(self, role: Role) -> der::Result<Option<LegacyCertificate>> {
        let mut outdated = Outdated {
            role,
            version: (self.version < 3).then_some(self.version),
            is_authority: false,
            has_only_common_name: false,
        };
        if outdated.version.is_some() && !self.extensions.is_empty() {
            return Ok(None); // Only version 3 may have extensions.
        }
        let (mut key_usage, mut has_alternative_name) = (None, false);
        let mut extensions = Vec::new();
        for bytes in &self.extensions {
            let extension = Extension::from_der(bytes)?;
            let value = extension.extn_value.as_bytes();
            match extension.extn_id {
                // If an extension occurs twice, the second one is kept, so that webpki rejects the certificate.
                BASIC_CONSTRAINTS
                    if !outdated.is_authority && BasicConstraints::from_der(value)?.ca =>
                {
                    outdated.is_authority = true;
                    continue;
                }
                KEY_USAGE => key_usage = Some(KeyUsage::from_der(value)?),
                SUBJECT_ALTERNATIVE_NAME => has_alternative_name = true,
                _ => {}
            }
            extensions.push(bytes.to_vec());
        }
        // No host is verified in a client's certificate, so its common name needs no change.
        if role == Role::Server && !has_alternative_name {
            if let Some(name) = self.host()? {
                outdated.has_only_common_name = true;
                extensions.push(alternative_name(&name)?);
            }
        }
        if !outdated.is_legacy() {
            return Ok(None);
        }
        let rewritten = self.signed_part(&extensions)?;
        let [algorithm, signature] = self.signature;
        let readable = element(SEQUENCE, &[&rewritten, algorithm, signature])?;
        Ok(Some(LegacyCertificate {
            readable: readable.into(),
            rewritten,
            signed: self.signed.to_vec(),
            outdated,
            may_sign_handshakes: !outdated.is_authority
                || key_usage.is_none_or(|usage| usage.digital_signature()),
        }))
    }

    /// Encodes the part of a certificate that an issuer signs, with these extensions.
    fn signed_part(&self, extensions: &[Vec<u8>]) -> der::Result<Vec<u8>> {
        let version = element(VERSION, &[&2u8.to_der()?])?; // The value 2 means version 3.
        let list: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
        let list = element(SEQUENCE, &list)?;
        let extensions = if extensions.is_empty() {
            Vec::new()
        } else {
            element(EXTENSIONS, &[&list])?
        };
        element(SEQUENCE, &[&version, &self.body.concat(), &extensions])
    }

    /// Returns the host in the common name as a general name in DER. Returns `None` if the common name is not a host.
    fn host(&self) -> der::Result<Option<Vec<u8>>> {
        let [.., subject, _] = self.body;
        let Some(name) = common_name(&Name::from_der(subject)?) else {
            return Ok(None);
        };
        let host = name.strip_prefix("*.").unwrap_or(&name);
        Ok(match ServerName::try_from(host) {
            // The mosquitto tools accept IP addresses in the common name too.
            Ok(ServerName::IpAddress(_)) => match name.parse() {
                Ok(IpAddr::V4(address)) => Some(element(IP_ADDRESS, &[&address.octets()])?),
                Ok(IpAddr::V6(address)) => Some(element(IP_ADDRESS, &[&address.octets()])?),
                Err(_) => None,
            },
            Ok(_) => Some(element(DNS_NAME, &[name.as_bytes()])?),
            Err(_) => None,
        })
    }
}

/// Returns a warning if the accepted certificate of a peer is a legacy one.
pub(crate) fn peer_warning(certificate: &CertificateDer<'_>, is_client: bool) -> Option<String> {
    let (role, whose) = if is_client {
        (Role::Client, "client")
    } else {
        (Role::Server, "server")
    };
    let legacy = LegacyCertificate::read(certificate, role)?;
    Some(format!(
        "the certificate of the {whose} {}",
        legacy.outdated()
    ))
}

/// Returns the part of a certificate that its issuer has signed.
pub(super) fn signed_part<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    let fields = Fields::read(certificate).ok()?;
    Some(fields.signed)
}

/// Returns the contents of a DER element, which must have this tag.
fn contents(element: &[u8], tag: Tag) -> der::Result<&[u8]> {
    let element = AnyRef::from_der(element)?;
    element.tag().assert_eq(tag)?;
    Ok(element.value())
}

/// Returns a DER element with this tag and these contents.
fn element(tag: u8, contents: &[&[u8]]) -> der::Result<Vec<u8>> {
    let length = contents.iter().map(|part| part.len()).sum::<usize>();
    let mut element = vec![tag];
    element.extend(Length::try_from(length)?.to_der()?);
    element.extend(contents.concat());
    Ok(element)
}

/// Returns an extension with this subject alternative name.
fn alternative_name(name: &[u8]) -> der::Result<Vec<u8>> {
    let value = element(OCTET_STRING, &[&element(SEQUENCE, &[name])?])?;
    element(SEQUENCE, &[&SUBJECT_ALTERNATIVE_NAME.to_der()?, &value])
}

// DER tags.
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const ISSUER_UNIQUE_ID: u8 = 0x81;
const SUBJECT_UNIQUE_ID: u8 = 0x82;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

impl Outdated {
    fn is_legacy(self) -> bool {
        self.version.is_some() || self.is_authority || self.has_only_common_name
    }
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(version) = self.version {
            write!(f, "is of X.509 version {version}")?;
            separator = ", ";
        }
        if self.is_authority {
            write!(f, "{separator}is marked as an authority (CA:TRUE)")?;
            separator = ", ";
        }
        if self.has_only_common_name {
            write!(f, "{separator}has its host in the common name only")?;
        }
        let line = match self.role {
            Role::Client => "extendedKeyUsage=clientAuth",
            Role::Server => "subjectAltName=DNS:HOST",
        };
        write!(
            f,
            "; other programs may reject it (make a new one with 'openssl x509 -req ... -extfile FILE', where FILE has \
             the lines 'basicConstraints=CA:FALSE' and '{line}')"
        )
    }
}

#[cfg(test)]
mod tests;
