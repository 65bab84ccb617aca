//! The settings of the service. Each is an environment variable and a flag.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;
use transcription_common::jwt;
use transcription_common::server::{ServerSettings, management_address};
use transcription_common::smoke::{Visitor, service_address};
use transcription_common::telemetry::TelemetrySettings;
use transcription_common::tls::TlsSettings;
use url::Url;

use crate::client_address::TrustedProxies;

/// Where to listen by default, and where to ask for health.
const LISTEN_ADDR: &str = "0.0.0.0:8001";

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
    /// Answers requests until it is told to stop (the default).
    Serve(Box<Config>),
    /// Adds, lists and changes users, also while the service runs.
    #[command(subcommand)]
    User(UserCommand),
    /// Writes a copy of the database, also while the service runs.
    Backup {
        /// A new file, or - for standard output.
        file: PathBuf,
        /// The database.
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Puts a backup in the place of the database, while the service is stopped. The old file stays beside it.
    Restore {
        /// A backup, or - for standard input.
        file: PathBuf,
        /// The database.
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Makes a signing key, in a new file that only its owner can read.
    MakeKey(MakeKeySettings),
    /// Logs in at a service and asks who that is: shows that it works.
    Smoke(SmokeSettings),
    /// Asks the service of this container whether it is ready.
    Healthcheck(HealthcheckSettings),
}

/// What `make-key` makes, and when.
#[derive(Clone, Debug, Args)]
pub struct MakeKeySettings {
    /// The file. It must not be there.
    pub file: PathBuf,
    /// Make none if the file is there, or if the services are given the key itself. For what prepares every start.
    #[arg(long)]
    pub if_needed: bool,
    /// A key that the services are given.
    #[arg(long, env = "JWT_SECRET_KEY", hide = true)]
    pub given_key: Option<SecretString>,
    /// A file that they are given; it may not be there yet.
    #[arg(long, env = "JWT_SECRET_KEY_FILE", hide = true)]
    pub given_file: Option<PathBuf>,
}

/// What can be done with users. A user is named as at log-in: by user name or e-mail address.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Adds a user. The password is read from standard input, asked twice on a terminal.
    Add {
        /// The user name.
        username: String,
        /// The e-mail address.
        email: String,
        /// Rules for passwords.
        #[command(flatten)]
        passwords: PasswordSettings,
        /// The database.
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Lists all users.
    List {
        /// The database.
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Gives a user another password, read from standard input, asked twice on a terminal.
    SetPassword {
        /// The user name or e-mail address.
        user: String,
        /// Rules for passwords.
        #[command(flatten)]
        passwords: PasswordSettings,
        /// The database.
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Keeps a user from logging in. Tokens that were given are good at the transcription service until they expire.
    Disable {
        /// The user name or e-mail address.
        user: String,
        /// The database.
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Lets a disabled user log in again.
    Enable {
        /// The user name or e-mail address.
        user: String,
        /// The database.
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Deletes a user for good. Recordings and texts in the bucket stay.
    Delete {
        /// The user name or e-mail address.
        user: String,
        /// The database.
        #[command(flatten)]
        database: DatabaseSettings,
    },
}

/// Everything `serve` needs.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The address to listen on.
    #[arg(long, env = "LISTEN_ADDR", default_value = LISTEN_ADDR)]
    pub listen_addr: SocketAddr,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseSettings,
    /// How tokens are signed.
    #[command(flatten)]
    pub jwt: jwt::Settings,
    /// Rules for accounts.
    #[command(flatten)]
    pub accounts: Accounts,
    /// How the service is served and stopped.
    #[command(flatten)]
    pub server: ServerSettings,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
    /// Whom to trust.
    #[command(flatten)]
    pub tls: TlsSettings,
}

/// Where users are stored.
#[derive(Clone, Debug, Args)]
pub struct DatabaseSettings {
    /// The SQLite file, as SQLAlchemy spells it: three slashes are relative, four absolute.
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:///./data/auth.db")]
    pub database_url: DatabaseUrl,
}

/// Rules for accounts.
#[derive(Clone, Debug, Args)]
pub struct Accounts {
    /// How long a token is taken, in minutes.
    #[arg(long, env = "ACCESS_TOKEN_EXPIRE_MINUTES", default_value = "30")]
    pub access_token_expire_minutes: NonZeroU32,
    /// Whether people can register by themselves.
    #[arg(long, env = "REGISTRATION", default_value = "open")]
    pub registration: Registration,
    /// Rules for passwords.
    #[command(flatten)]
    pub passwords: PasswordSettings,
    /// The networks of the proxies in front, which may say by X-Forwarded-For for whom they speak: CIDRs, separated by commas.
    /// None by default; behind a proxy that is not named here all clients look like one.
    #[arg(
        long,
        env = "TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true
    )]
    pub trusted_proxies: TrustedProxies,
}

/// Rules for passwords.
#[derive(Clone, Copy, Debug, Args)]
pub struct PasswordSettings {
    /// The least number of characters of a new password.
    #[arg(long, env = "PASSWORD_MIN_LENGTH", default_value = "8", value_parser = clap::value_parser!(u8).range(1..=72))]
    pub password_min_length: u8,
    /// The cost of a password hash, 4 to 31: one more doubles the time.
    #[arg(long, env = "BCRYPT_COST", default_value = "12", value_parser = clap::value_parser!(u32).range(4..=31))]
    pub bcrypt_cost: u32,
}

/// Whether people can register by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Registration {
    /// They can.
    #[default]
    Open,
    /// Users are made by `auth-service user add`.
    Closed,
}

impl Registration {
    /// Its name, as the setting spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// Which address `healthcheck` asks.
#[derive(Clone, Copy, Debug, Args)]
pub struct HealthcheckSettings {
    /// The address that the service listens on.
    #[arg(long, env = "LISTEN_ADDR", default_value = LISTEN_ADDR)]
    pub listen_addr: SocketAddr,
    /// The address of its own for health, if it has one; then that is asked.
    #[arg(long, env = "MANAGEMENT_ADDR", value_parser = management_address)]
    pub management_addr: Option<SocketAddr>,
}

/// What `smoke` does.
#[derive(Clone, Debug, Args)]
pub struct SmokeSettings {
    /// The address of the auth service, for example `http://127.0.0.1:8001`.
    #[arg(long, value_parser = service_address)]
    pub url: Url,
    /// How long it may take in all, in seconds.
    #[arg(long, default_value = "30")]
    pub timeout_seconds: NonZeroU64,
    /// Who logs in.
    #[command(flatten)]
    pub visitor: Visitor,
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
