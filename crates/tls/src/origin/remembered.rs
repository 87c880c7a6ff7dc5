//! Signatures of certificates that were verified before. Whether a signature is sound depends on nothing but the key, the
//! bytes that were signed and the signature itself, so an answer holds for ever; what changes (dates, names, roots,
//! revocations) is asked anew each time. Sites present the same certificates with each connection, and a resumed session's
//! are verified again: two in three elliptic curve operations of a handshake with an origin are spared.

use std::fmt;
use std::sync::LazyLock;

use quick_cache::sync::Cache;
use rustls_pki_types::{AlgorithmIdentifier, FipsStatus, InvalidSignature, SignatureVerificationAlgorithm};
use sha2::{Digest as _, Sha256};

/// How many are remembered: the sites that a large school visits in a day, with their authorities. A megabyte at most.
const REMEMBERED: usize = 8192;

/// All algorithms that certificates may be signed with, none of which does the same work twice.
pub(super) fn algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    static ALGORITHMS: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> = LazyLock::new(|| {
        let all = crate::provider().signature_verification_algorithms.all;
        // Once for the process: what is leaked here is needed until it ends.
        all.iter().map(|one| Box::leak(Box::new(Remembering { algorithm: *one })) as _).collect()
    });
    &ALGORITHMS
}

/// Good signatures by [`Remembering::place`]. Bad ones are not remembered: somebody could fill it with them.
static GOOD: LazyLock<Cache<[u8; 32], ()>> = LazyLock::new(|| Cache::new(REMEMBERED));

struct Remembering {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
}

impl Remembering {
    /// The hash of everything that the answer depends on.
    fn place(&self, parts: [&[u8]; 3]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let (key, signature) = (self.algorithm.public_key_alg_id(), self.algorithm.signature_alg_id());
        for part in [key.as_ref(), signature.as_ref()].into_iter().chain(parts) {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let place = self.place([public_key, message, signature]);
        if GOOD.get(&place).is_some() {
            return Ok(());
        }
        self.algorithm.verify_signature(public_key, message, signature)?;
        GOOD.insert(place, ());
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn fips_status(&self) -> FipsStatus {
        self.algorithm.fips_status()
    }
}

impl fmt::Debug for Remembering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithm.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls_pki_types::alg_id;

    use super::*;

    /// Takes signatures that are the message; counts how often it is asked.
    #[derive(Debug)]
    struct Counting(AtomicUsize);

    impl SignatureVerificationAlgorithm for Counting {
        fn verify_signature(
            &self,
            _: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<(), InvalidSignature> {
            self.0.fetch_add(1, Ordering::Relaxed);
            if message == signature { Ok(()) } else { Err(InvalidSignature) }
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ED25519
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ED25519
        }
    }

    #[test]
    fn only_the_same_signature_of_the_same_bytes_by_the_same_key_is_known() {
        let counting: &Counting = Box::leak(Box::new(Counting(AtomicUsize::new(0))));
        let remembering = Remembering { algorithm: counting };
        for (name, key, message, signature, sound, asked) in [
            ("the first time", &b"key"[..], &b"text"[..], &b"text"[..], true, 1),
            ("again", b"key", b"text", b"text", true, 1),
            ("another key", b"kex", b"text", b"text", true, 2),
            ("other bytes", b"key", b"texts", b"texts", true, 3),
            ("another signature", b"key", b"text", b"texu", false, 4),
            ("the same again", b"key", b"text", b"texu", false, 5),
            ("other borders", b"keyt", b"ext", b"ext", true, 6),
        ] {
            assert_eq!(remembering.verify_signature(key, message, signature).is_ok(), sound, "{name}");
            assert_eq!(counting.0.load(Ordering::Relaxed), asked, "{name}");
        }
    }
}
