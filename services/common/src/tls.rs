//! Whom the clients in the services trust: the system's authorities, and the operator's own.

use std::fs;
use std::path::PathBuf;

use clap::Args;

/// Whom to trust.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsSettings {
    /// A PEM file of certificates that are trusted besides the system's.
    #[arg(long, env = "CA_BUNDLE_FILE")]
    pub ca_bundle_file: Option<PathBuf>,
}

impl TlsSettings {
    /// The bundle as it stands in the file, if there is one.
    ///
    /// Fails with a sentence if it cannot be read or holds no certificate.
    pub fn pem(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(file) = &self.ca_bundle_file else {
            return Ok(None);
        };
        let shown = file.display();
        let pem = fs::read(file)
            .map_err(|error| anyhow::anyhow!("CA_BUNDLE_FILE: {shown} cannot be read: {error}; for example CA_BUNDLE_FILE=/etc/ssl/certs/ca-certificates.crt"))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
        anyhow::ensure!(
            !certificates.is_empty(),
            "CA_BUNDLE_FILE: {shown} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        );
        Ok(Some(pem))
    }

    /// The certificates in the bundle, for HTTP clients.
    pub fn certificates(&self) -> anyhow::Result<Vec<reqwest::Certificate>> {
        let pem = self.pem()?.unwrap_or_default();
        Ok(reqwest::Certificate::from_pem_bundle(&pem)?)
    }
}
