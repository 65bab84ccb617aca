//! What is signed of the bytes that S3 is sent.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// The SHA-256 of a body, in hexadecimal, as the manifest has it.
///
/// It is signed as it is (`x-amz-content-sha256`, AWS Signature Version 4): S3 refuses other bytes than those that the manifest tells of,
/// and the SDK does not hash them once more for each attempt.
#[derive(Debug)]
pub struct KnownHash(pub String);

impl Intercept for KnownHash {
    fn name(&self) -> &'static str {
        "KnownHash"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let hash = PayloadSigningOverride::Precomputed(self.0.clone());
        config.interceptor_state().store_put(hash);
        Ok(())
    }
}
