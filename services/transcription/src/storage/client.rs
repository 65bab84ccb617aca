//! The client for S3: its time limits, its retries, who it is, and whom it trusts.

use std::time::Duration;

use anyhow::Context;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use secrecy::ExposeSecret;
use transcription_common::tls::TlsSettings;

use super::OPERATION_LIMIT;
use crate::config::S3Settings;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);

/// A client with our time limits, retries and authorities.
pub async fn client(settings: S3Settings, tls: &TlsSettings) -> anyhow::Result<Client> {
    let S3Settings {
        s3_bucket_name: _,
        aws_access_key_id,
        aws_secret_access_key,
        aws_session_token,
        aws_region,
        aws_endpoint_url_s3,
        s3_force_path_style,
    } = settings;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_LIMIT)
        .operation_attempt_timeout(ATTEMPT_LIMIT)
        .operation_timeout(OPERATION_LIMIT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts);
    if let Some(region) = aws_region {
        loader = loader.region(Region::new(region));
    }
    if let (Some(id), Some(secret)) = (aws_access_key_id, aws_secret_access_key) {
        let secret = secret.expose_secret();
        // Keys that were lent for an hour come with a token, and are worth nothing without it.
        let token = aws_session_token.map(|token| token.expose_secret().to_owned());
        let given = Credentials::new(id, secret, token, None, "settings");
        loader = loader.credentials_provider(given);
    }
    if let Some(pem) = tls.pem()? {
        // Set here it serves those too whom the SDK asks for credentials.
        loader = loader.http_client(trusting(pem)?);
    }
    let mut config = aws_sdk_s3::config::Builder::from(&loader.load().await)
        .force_path_style(s3_force_path_style)
        // S3-like stores refuse the newer checksums; the manifest has our own SHA-256.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = aws_endpoint_url_s3 {
        config = config.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(config.build()))
}

/// The SDK's own HTTP client in everything, the proxies of the environment included, but that it trusts these certificates too.
fn trusting(pem: Vec<u8>) -> anyhow::Result<SharedHttpClient> {
    let trusted = TrustStore::default().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.context("preparing the certificates for S3")?;
    let client = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context.clone());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    });
    Ok(client)
}
