//! Requests to S3 signed anew, as a proxy has to that lives in another time (AWS Signature Version 4).

use sha2::{Digest, Sha256};

use crate::seaweedfs::{ACCESS_KEY, SECRET_KEY};

const BLOCK_BYTES: usize = 64;

/// What is signed of a request.
pub struct Signed<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, as it is sent.
    pub path: &'a str,
    /// The query, as it is sent.
    pub query: &'a str,
    /// The header `host`.
    pub host: &'a str,
    /// The header `x-amz-content-sha256`.
    pub content_sha256: &'a str,
    /// The header `x-amz-date`.
    pub date: &'a str,
}

impl Signed<'_> {
    /// The header `authorization`, with the keys of the lab's server.
    pub fn authorization(&self) -> String {
        const HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";
        let Self {
            method,
            path,
            query,
            host,
            content_sha256,
            date,
        } = self;
        let mut pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let is_whole = pair.contains('=');
                format!("{pair}{}", if is_whole { "" } else { "=" })
            })
            .collect::<Vec<_>>();
        pairs.sort_unstable();
        let query = pairs.join("&");
        let request = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{content_sha256}\nx-amz-date:{date}\n\n{HEADERS}\n{content_sha256}"
        );
        let day = &date[..8];
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let hash = hexadecimal(&Sha256::digest(request));
        let signed = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
        for word in [day, "us-east-1", "s3", "aws4_request"] {
            key = hmac(&key, word.as_bytes());
        }
        let signature = hexadecimal(&hmac(&key, signed.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={HEADERS}, Signature={signature}"
        )
    }
}

/// HMAC with SHA-256 (RFC 2104), for keys of less than a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= BLOCK_BYTES, "a longer one is hashed first");
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK_BYTES];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_botocore_signs_it() {
        let signed = Signed {
            method: "PUT",
            path: "/recordings/private/1/a.wav",
            query: "x-id=PutObject",
            host: "127.0.0.1:9000",
            content_sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            date: "20261126T031900Z",
        };

        let authorization = signed.authorization();

        let (_, signature) = authorization.rsplit_once("Signature=").unwrap();
        let expected = "51f69a77633f78738aa86d66a545809b245dd214f02ded5aea6a24515047c859";
        assert_eq!(signature, expected);
    }
}
