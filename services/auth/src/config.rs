//! The settings of the service. Each is an environment variable and a flag.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use transcription_common::jwt;
use transcription_common::telemetry::LogSettings;

/// Registers users, checks passwords and issues tokens.
#[derive(Debug, Parser)]
#[command(name = "auth-service", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answers requests until it is told to stop (the default). `auth-service serve --help` lists the settings.
    Serve(Config),
}

/// Everything `serve` needs.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The address to listen on.
    #[arg(long, env = "LISTEN_ADDR", default_value = "0.0.0.0:8001")]
    pub listen_addr: SocketAddr,
    /// The SQLite file, as SQLAlchemy spells it: three slashes are relative, four absolute.
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:///./data/auth.db")]
    pub database_url: DatabaseUrl,
    /// How tokens are signed.
    #[command(flatten)]
    pub jwt: jwt::Settings,
    /// Rules for accounts.
    #[command(flatten)]
    pub accounts: Accounts,
    /// How long to finish requests in flight after SIGTERM, in seconds.
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value = "30")]
    pub shutdown_grace_seconds: NonZeroU64,
    /// How to log.
    #[command(flatten)]
    pub log: LogSettings,
}

/// Rules for accounts.
#[derive(Clone, Debug, Args)]
pub struct Accounts {
    /// How long a token is taken, in minutes.
    #[arg(long, env = "ACCESS_TOKEN_EXPIRE_MINUTES", default_value = "30")]
    pub access_token_expire_minutes: NonZeroU64,
    /// The least number of characters of a new password.
    #[arg(long, env = "PASSWORD_MIN_LENGTH", default_value = "8")]
    pub password_min_length: NonZeroUsize,
    /// The cost of a password hash, 4 to 31: one more doubles the time.
    #[arg(long, env = "BCRYPT_COST", default_value = "12", value_parser = clap::value_parser!(u32).range(4..=31))]
    pub bcrypt_cost: u32,
}

/// Where the SQLite file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUrl {
    /// The file's path.
    pub path: PathBuf,
    /// Whether to make the file if it is not there.
    pub create: bool,
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "for example sqlite:///./data/auth.db (relative) or sqlite:////var/lib/auth.db (absolute)";
        let rest = url
            .strip_prefix("sqlite://")
            .ok_or(format!("only SQLite is supported, {EXAMPLE}"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        // sqlx reads `sqlite:///x` as absolute, SQLAlchemy as relative; its URLs must go on meaning what they meant.
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.is_empty() || path == ":memory:" {
            return Err(format!("it names no file, {EXAMPLE}"));
        }
        let create = match query {
            "" | "mode=rwc" => true,
            "mode=rw" => false,
            _ => {
                return Err(format!(
                    "after the ? only mode=rwc or mode=rw is taken, {EXAMPLE}"
                ));
            }
        };
        let path = PathBuf::from(path);
        Ok(Self { path, create })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_means_what_it_means_to_sqlalchemy() {
        let path = |url: &str| url.parse::<DatabaseUrl>().unwrap().path;

        assert_eq!(
            path("sqlite:///./data/auth.db"),
            PathBuf::from("./data/auth.db")
        );
        assert_eq!(path("sqlite:///auth.db"), PathBuf::from("auth.db"));
        assert_eq!(
            path("sqlite:////app/auth.db"),
            PathBuf::from("/app/auth.db")
        );
        assert_eq!(path("sqlite://auth.db"), PathBuf::from("auth.db"));
        assert!(
            !"sqlite:///a.db?mode=rw"
                .parse::<DatabaseUrl>()
                .unwrap()
                .create
        );
    }

    #[test]
    fn a_database_url_that_names_no_sqlite_file_is_refused() {
        for url in [
            "postgres://x",
            "sqlite://",
            "sqlite:///",
            "sqlite:///a.db?mode=ro",
        ] {
            assert!(url.parse::<DatabaseUrl>().is_err(), "{url}");
        }
    }
}
