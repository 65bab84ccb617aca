//! What an operator does by hand, beside a running server.

use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use transcription_common::jwt::SecretKey;
use transcription_common::settings::say;

use crate::account::{Email, NewPassword, Username};
use crate::config::{
    DatabaseSettings, MakeKeySettings, PasswordSettings, SmokeSettings, UserCommand,
};
use crate::database::{Database, UseLock};
use crate::error::Error;
use crate::passwords;
use crate::users::{Candidate, User, Users};

/// Does what was asked with users.
pub async fn user(command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Add {
            username,
            email,
            passwords,
            database,
        } => {
            let username = Username::new(username).map_err(about("the user name"))?;
            let email = Email::new(email).map_err(about("the e-mail address"))?;
            let hash = hash_of_new_password(passwords)?;
            let opened = Opened::make(&database).await?;
            let added = opened.users.add(&username, &email, &hash).await;
            let user = added.map_err(|error| match error {
                Error::UsernameTaken => anyhow::anyhow!("the user name is taken"),
                Error::EmailTaken => anyhow::anyhow!("the e-mail address has an account"),
                error => error.into(),
            })?;
            opened.close().await;
            say(&format!("Added: {}", shown(&user)))
        }
        UserCommand::List { database } => {
            let opened = Opened::open(&database).await?;
            let users = opened.users.all().await?;
            opened.close().await;
            say(&table(&users))
        }
        UserCommand::SetPassword {
            user,
            passwords,
            database,
        } => {
            let hash = hash_of_new_password(passwords)?;
            let opened = Opened::open(&database).await?;
            let user = opened.user(&user).await?;
            opened.users.set_hash(user.id, &hash).await?;
            opened.close().await;
            say(&format!("A new password: {}", shown(&user)))
        }
        UserCommand::Disable { user, database } => {
            let opened = Opened::open(&database).await?;
            let user = opened.user(&user).await?;
            opened.users.set_disabled(user.id, true).await?;
            opened.close().await;
            say(&format!(
                "Disabled: {}. Tokens that were given before are still good at the transcription service until they expire (ACCESS_TOKEN_EXPIRE_MINUTES).",
                shown(&user)
            ))
        }
        UserCommand::Enable { user, database } => {
            let opened = Opened::open(&database).await?;
            let user = opened.user(&user).await?;
            opened.users.set_disabled(user.id, false).await?;
            opened.close().await;
            say(&format!("Enabled: {}", shown(&user)))
        }
        UserCommand::Delete { user, database } => {
            let opened = Opened::open(&database).await?;
            let user = opened.user(&user).await?;
            opened.users.delete(user.id).await?;
            opened.close().await;
            say(&format!(
                "Deleted: {}. Recordings and texts stay in the bucket, under private/{}/. Tokens that were given before are still good at the transcription service until they expire (ACCESS_TOKEN_EXPIRE_MINUTES).",
                shown(&user),
                user.id
            ))
        }
    }
}

/// Makes a signing key. A file that is there is never overwritten.
pub fn make_key(settings: &MakeKeySettings) -> anyhow::Result<()> {
    let MakeKeySettings {
        file,
        if_needed,
        given_key,
        given_file,
    } = settings;
    let shown = file.display();
    if *if_needed {
        // What prepares the start of several services has the settings of all of them.
        anyhow::ensure!(
            given_key.is_none() || given_file.is_none(),
            "JWT_SECRET_KEY and JWT_SECRET_KEY_FILE are both set: services that have one each take no tokens of one another; set the same one for all of them"
        );
        if given_key.is_some() {
            return say("None is needed: JWT_SECRET_KEY is set.");
        }
        if file.exists() {
            return say(&format!("Kept: {shown}."));
        }
    }
    SecretKey::generate()?
        .write_new(file)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{shown} is there already, and a key is never overwritten")
            }
            _ => anyhow::anyhow!("the key cannot be written to {shown}: {error}"),
        })?;
    say(&format!(
        "Made: {shown}. Name it to both services by JWT_SECRET_KEY_FILE."
    ))
}

/// Logs in at a service, and asks it whose the token is.
///
/// Fails with a sentence that names the step.
pub async fn smoke(settings: SmokeSettings) -> anyhow::Result<()> {
    let SmokeSettings {
        url,
        timeout_seconds,
        visitor,
    } = settings;
    let limit = Duration::from_secs(timeout_seconds.get());
    let session = visitor.log_in(&url, limit).await?;
    let me = session.send(session.get(&url, "me"), "asking /me").await?;
    let id = me["id"].as_i64().context("/me told no id")?;
    let wanted = visitor.smoke_username.to_lowercase();
    let names = ["username", "email"].map(|field| me[field].as_str().unwrap_or_default());
    anyhow::ensure!(
        names.iter().any(|name| name.to_lowercase() == wanted),
        "/me told of another user than the one who logged in, of id {id}"
    );
    say(&format!(
        "It works: the user of id {id} logged in, and the token is good."
    ))
}

struct Opened {
    database: Database,
    users: Users,
    _lock: UseLock,
}

impl Opened {
    /// Opens the database, or makes it: the first user may come before the first server.
    async fn make(settings: &DatabaseSettings) -> anyhow::Result<Self> {
        let lock = UseLock::share(&settings.database_url)?;
        let database = Database::open(&settings.database_url).await?;
        let users = Users::new(database.clone());
        Ok(Self {
            database,
            users,
            _lock: lock,
        })
    }

    async fn open(settings: &DatabaseSettings) -> anyhow::Result<Self> {
        let path = &settings.database_url.path;
        anyhow::ensure!(path.exists(), "there is no database {}", path.display());
        Self::make(settings).await
    }

    async fn user(&self, name: &str) -> anyhow::Result<User> {
        let Candidate { user, .. } = self.users.by_login(name).await?;
        let (user, _) =
            user.context("there is no such user; list them with: auth-service user list")?;
        Ok(user)
    }

    async fn close(self) {
        self.database.close().await;
    }
}

fn hash_of_new_password(settings: PasswordSettings) -> anyhow::Result<String> {
    let password = if io::stdin().is_terminal() {
        ask_twice()?
    } else {
        first_line()?
    };
    let password = NewPassword::new(password, settings.password_min_length.into())
        .map_err(about("the password"))?;
    passwords::hash(&password, settings.bcrypt_cost)
}

fn ask_twice() -> anyhow::Result<SecretString> {
    let ask = |prompt| {
        rpassword::prompt_password(prompt)
            .map(SecretString::from)
            .context("reading the password")
    };
    let password = ask("Password: ")?;
    let again = ask("The same once more: ")?;
    anyhow::ensure!(
        password.expose_secret() == again.expose_secret(),
        "the passwords differ"
    );
    Ok(password)
}

fn first_line() -> anyhow::Result<SecretString> {
    let mut line = String::new();
    let mut input = io::stdin().lock();
    input.read_line(&mut line).context("reading the password")?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(SecretString::from(line))
}

fn about(what: &'static str) -> impl Fn(String) -> anyhow::Error {
    move |reason| anyhow::anyhow!("{what} {}", reason.trim_end_matches('.'))
}

fn shown(user: &User) -> String {
    format!("{} (id {})", plain(user.username.as_deref()), user.id)
}

fn table(users: &[User]) -> String {
    let rows = users.iter().map(|user| {
        let state = if user.disabled { "disabled" } else { "enabled" };
        [
            user.id.to_string(),
            plain(user.username.as_deref()),
            plain(user.email.as_deref()),
            state.to_owned(),
        ]
    });
    let head = ["ID", "USER NAME", "E-MAIL", "STATE"].map(str::to_owned);
    let rows = std::iter::once(head).chain(rows).collect::<Vec<_>>();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2].map(|column| width(column).unwrap_or_default());
    let lines = rows.iter().map(|[id, name, email, state]| {
        let [id_width, name_width, email_width] = widths;
        format!("{id:id_width$}  {name:name_width$}  {email:email_width$}  {state}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Old rows may hold characters that move the cursor of a terminal, or nothing.
fn plain(text: Option<&str>) -> String {
    text.unwrap_or_default()
        .replace(char::is_control, "\u{fffd}")
}
