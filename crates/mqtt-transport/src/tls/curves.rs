//! Verification of signatures that ring does not support: ECDSA on the curve P-521, and ECDSA with SHA-512 on the
//! curves P-256 and P-384 (as made by `openssl x509 -sha512`).
//!
//! This module verifies and does not sign, so it uses no secrets that could leak through timing.

use ring::digest;
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

/// The additional algorithms. One of them is also valid for signatures in handshakes.
pub(super) static MORE: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        &Ecdsa {
            key: alg_id::ECDSA_P256,
            signature: alg_id::ECDSA_SHA512,
            hash: &digest::SHA512,
            verify: verify_p256,
        },
        &Ecdsa {
            key: alg_id::ECDSA_P384,
            signature: alg_id::ECDSA_SHA512,
            hash: &digest::SHA512,
            verify: verify_p384,
        },
        &Ecdsa {
            key: alg_id::ECDSA_P521,
            signature: alg_id::ECDSA_SHA256,
            hash: &digest::SHA256,
            verify: verify_p521,
        },
        &Ecdsa {
            key: alg_id::ECDSA_P521,
            signature: alg_id::ECDSA_SHA384,
            hash: &digest::SHA384,
            verify: verify_p521,
        },
        &P521_SHA512,
    ],
    mapping: &[(SignatureScheme::ECDSA_NISTP521_SHA512, &[&P521_SHA512])],
};

static P521_SHA512: Ecdsa = Ecdsa {
    key: alg_id::ECDSA_P521,
    signature: alg_id::ECDSA_SHA512,
    hash: &digest::SHA512,
    verify: verify_p521,
};

/// ECDSA on one curve with one hash function.
#[derive(Debug)]
struct Ecdsa {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    hash: &'static digest::Algorithm,
    verify: Verify,
}

/// Function that verifies a signature in DER. The arguments are the key, the hash of the message, and the signature.
/// Returns `None` if the signature is invalid.
type Verify = fn(&[u8], &[u8], &[u8]) -> Option<()>;

impl SignatureVerificationAlgorithm for Ecdsa {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let hash = digest::digest(self.hash, message);
        (self.verify)(public_key, hash.as_ref(), signature).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

fn verify_p256(key: &[u8], hash: &[u8], signature: &[u8]) -> Option<()> {
    use p256::ecdsa::signature::hazmat::PrehashVerifier;
    use p256::ecdsa::{Signature, VerifyingKey};
    let key = VerifyingKey::from_sec1_bytes(key).ok()?;
    let signature = Signature::from_der(signature).ok()?;
    key.verify_prehash(hash, &signature).ok()
}

fn verify_p384(key: &[u8], hash: &[u8], signature: &[u8]) -> Option<()> {
    use p384::ecdsa::signature::hazmat::PrehashVerifier;
    use p384::ecdsa::{Signature, VerifyingKey};
    let key = VerifyingKey::from_sec1_bytes(key).ok()?;
    let signature = Signature::from_der(signature).ok()?;
    key.verify_prehash(hash, &signature).ok()
}

fn verify_p521(key: &[u8], hash: &[u8], signature: &[u8]) -> Option<()> {
    use p521::ecdsa::signature::hazmat::PrehashVerifier;
    use p521::ecdsa::{DerSignature, Signature, VerifyingKey};
    let key = VerifyingKey::from_sec1_bytes(key).ok()?;
    let signature = Signature::try_from(DerSignature::try_from(signature).ok()?).ok()?;
    // The crate rejects hashes shorter than half of the field. Leading zeros do not change the number that the hash
    // encodes.
    let mut number = [0; P521_FIELD];
    let start = P521_FIELD.checked_sub(hash.len())?;
    number.get_mut(start..)?.copy_from_slice(hash);
    key.verify_prehash(&number, &signature).ok()
}

/// Length of a field element of the curve P-521 in bytes.
const P521_FIELD: usize = 66;
