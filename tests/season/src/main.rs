//! A season: households watch, their TVs learn, the server aggregates, epoch after epoch, with the code
//! and the defaults that are shipped. One JSON object on standard output.

use omega_edge::aggregate::close::Closing;
use omega_edge::aggregate::dice::Dice;
use omega_edge::aggregate::median::Alarm;
use omega_edge::aggregate::region::Region;
use omega_edge::aggregate::release::Tally;
use omega_edge::aggregate::settings::{Settings, YEAR_MINUTES, epoch_ends, year_of_epoch};
use omega_edge::store::aggregate::{Account, AggregateStore, Brought, FeedTitle, Item, Wanted};
use omega_edge::store::sqlite::SqliteStore;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{DeviceId, HouseholdId};
use omega_sync_core::pattern::Pattern;
use omega_sync_season::catalogue::{Title, by_genre, made_up, read};
use omega_sync_season::home::{Home, poison};
use omega_sync_season::measure::{cosines, recommendations, rounded, spread, sweep, truth};
use omega_sync_season::trends::trends;
use serde_json::{Value, json};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::runtime::Runtime;

/// What the command line says.
struct Options {
    titles: Option<(PathBuf, PathBuf)>,
    households: usize,
    poisoners: usize,
    crowd: bool,
    epochs: u64,
    seed: u64,
}

/// The season begins after this epoch: with a year of the ledger.
const EPOCH_BEFORE: u64 = 57 * YEAR_MINUTES;
/// Households whose lists are compared.
const LISTENERS: usize = 1_000;
/// Titles fed, and households that bring something, at once.
const CHUNK: usize = 500;

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("season: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        titles: None,
        households: 5_000,
        poisoners: 100,
        crowd: false,
        epochs: 8,
        seed: 1,
    };
    let (mut embeddings, mut meta) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--titles" => embeddings = Some(PathBuf::from(value)),
            "--titles-meta" => meta = Some(PathBuf::from(value)),
            "--households" => options.households = value.parse()?,
            "--poisoners" => options.poisoners = value.parse()?,
            "--aim" if value == "crowd" => options.crowd = true,
            "--epochs" => options.epochs = value.parse()?,
            "--seed" => options.seed = value.parse()?,
            other => return Err(format!("there is no {other}").into()),
        }
    }
    options.titles = match (embeddings, meta) {
        (Some(embeddings), Some(meta)) => Some((embeddings, meta)),
        (None, None) => None,
        _ => return Err("--titles and --titles-meta belong together".into()),
    };
    if options.households == 0 || options.epochs < 2 || options.poisoners > options.households {
        return Err(
            "at least one household and two epochs, and not more poisoners than households".into(),
        );
    }
    Ok(options)
}

/// The server's side: its store, its settings, its clock.
struct Server {
    runtime: Runtime,
    store: SqliteStore,
    settings: Settings,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(titles: &[Title]) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let runtime = Runtime::new()?;
        let store = SqliteStore::open(folder.path())?;
        let settings = Settings::default();
        let server = Self { runtime, store, settings, _folder: folder };
        server.runtime.block_on(server.store.shared(EPOCH_BEFORE, 0))?;
        for chunk in titles.chunks(CHUNK) {
            let fed = chunk.iter().map(|title| FeedTitle {
                content: title.content.clone(),
                genre: title.genre.clone(),
                embedding: title.embedding.clone(),
            });
            server.runtime.block_on(server.store.feed(fed.collect()))?;
        }
        Ok(server)
    }

    /// An epoch of the season, from 0.
    fn epoch(&self, number: u64) -> u64 {
        (0..=number).fold(EPOCH_BEFORE, |before, _| self.settings.epoch_after(before))
    }

    /// Many households at once, so that one fsync serves them.
    fn bring(&self, epoch: u64, all: &[Vec<Pattern>]) -> Result<(), Box<dyn Error>> {
        let device = DeviceId::new("tv")?;
        for (chunk, households) in all.chunks(CHUNK).enumerate() {
            let mut tasks = Vec::new();
            for (at, patterns) in households.iter().enumerate() {
                let household = HouseholdId::new(&format!("h{:05}", chunk * CHUNK + at))?;
                let (patterns, device) = (patterns.clone(), device.clone());
                let brought = Brought { epoch, device, region: None, patterns };
                tasks.push(self.runtime.spawn(self.store.bring(&household, brought)));
            }
            for task in tasks {
                self.runtime.block_on(task)??;
            }
        }
        Ok(())
    }

    fn closing(&self) -> Closing<'_> {
        let runtime = self.runtime.handle();
        Closing { store: &self.store, settings: &self.settings, runtime }
    }

    fn released(&self) -> Result<Vec<Pattern>, Box<dyn Error>> {
        let all = self.runtime.block_on(self.store.published(Wanted::AllPatterns, 0))?;
        let patterns = all.into_iter().filter_map(|one| match one.item {
            Item::Pattern(pattern) => Some(pattern),
            Item::Title(_) => None,
        });
        Ok(patterns.collect())
    }
}

fn run(options: &Options) -> Result<Value, Box<dyn Error>> {
    let titles = match &options.titles {
        Some((embeddings, meta)) => read(embeddings, meta)?,
        None => made_up(options.seed),
    };
    let genres = by_genre(&titles);
    let server = Server::start(&titles)?;
    let make = |at: usize| Home::new(&titles, &genres, options.seed * 1_000_000 + at as u64);
    let honest = options.households - options.poisoners;
    let mut homes: Vec<Home> = (0..honest).map(make).collect();
    let target = target(&titles, &genres, options.crowd).ok_or("no title")?;
    let mut dice = Dice::new(options.seed ^ 0xd1ce);
    let (mut epochs, mut last) = (Vec::new(), Value::Null);
    for number in 0..options.epochs {
        let epoch = server.epoch(number);
        for home in &mut homes {
            // The last epoch's viewings are what lists are compared with.
            let up_to = home.watches.len() * (number as usize + 1) / (options.epochs as usize + 1);
            home.watch(&titles, up_to);
        }
        let mut all: Vec<Vec<Pattern>> = homes.iter().map(Home::patterns).collect();
        all.extend(
            (honest..options.households).map(|at| poison(target, at as u128).into_iter().collect()),
        );
        server.bring(epoch, &all)?;
        let before = server.closing().geometry()?;
        let now = UnixMillis(epoch_ends(epoch));
        let ended = server.closing().epoch(now, &mut dice)?.ok_or("the epoch is not over")?;
        let truth = truth(&before.anchors, all[..honest].iter().map(Vec::as_slice));
        let fresh = server.released()?;
        let (cosine, centre) = cosines(&truth, &before.anchors, &fresh);
        let mut poisoned = poisoned(&before.anchors, target, &truth, &fresh);
        let (own, others): (Vec<Alarm>, Vec<Alarm>) = ended.alarms.into_iter().partition(|alarm| {
            Some(alarm.cluster.0) == poisoned["cluster"].as_u64().map(u128::from)
        });
        poisoned["alarm"] = own.first().map_or(Value::Null, |alarm| alarm.why.to_string().into());
        eprintln!("epoch {number}: {} patterns released, {:?}", ended.released, ended.close);
        epochs.push(json!({
            "epoch": number, "clusters": before.anchors.len(), "released": ended.released,
            "shown": fresh.len(), "of_50_or_more": truth.values().filter(|one| one.1 >= 50).count(),
            "cosine": spread(&cosine), "public_centre": spread(&centre),
            "rho": ended.rho.value(), "other_alarms": others.len(), "poisoned": poisoned,
        }));
        if number + 1 == options.epochs {
            let mut tally = Tally::new(&before);
            all.iter().for_each(|patterns| tally.add(None, patterns));
            let releases = server.settings.releases();
            let listeners: Vec<&Home> = homes.iter().take(LISTENERS).collect();
            let true_patterns: Vec<Pattern> = fresh
                .iter()
                .filter_map(|pattern| {
                    let mean = truth.get(&pattern.id)?.0.clone();
                    let (count, hits) = (pattern.sample_count(), pattern.success_count());
                    Pattern::new(pattern.id, pattern.genre.clone(), mean, count, hits).ok()
                })
                .collect();
            last = json!({
                "privacy": sweep(&tally, &before, &truth, releases, &mut dice),
                "recommendations": recommendations(&titles, &listeners, &make, &fresh, &true_patterns),
            });
        }
    }
    let (day, region) = (server.settings.day_noise().ok_or("no noise")?, Region::new("DE")?);
    Ok(json!({
        "bench": "season", "catalogue": if options.titles.is_some() { "files" } else { "made up" },
        "titles": titles.len(), "households": options.households, "poisoners": options.poisoners,
        "epochs": epochs, "privacy": last["privacy"], "recommendations": last["recommendations"],
        "trends": trends(&titles, options.households, day, &region), "budget": budget(&server, options)?,
    }))
}

/// The title that poisoners send: of the largest genre, where hardly anybody is or where most are.
fn target<'a>(titles: &'a [Title], genres: &[Vec<usize>], crowd: bool) -> Option<&'a Title> {
    let largest = genres.iter().max_by_key(|genre| genre.len())?;
    let popularity = |at: &usize| titles[*at].popularity;
    let by_popularity = |a: &&usize, b: &&usize| popularity(a).total_cmp(&popularity(b));
    let at = match crowd {
        true => largest.iter().max_by(by_popularity),
        false => largest.iter().min_by(by_popularity),
    };
    Some(&titles[*at?])
}

/// How far the poisoners' cluster is from where its honest households are.
fn poisoned(
    anchors: &[omega_edge::aggregate::space::Anchor],
    target: &Title,
    truth: &omega_sync_season::measure::Truth,
    released: &[Pattern],
) -> Value {
    let near = omega_edge::aggregate::space::nearest(anchors, &target.genre, &target.embedding);
    let Some(anchor) = near.map(|at| &anchors[at]) else {
        return Value::Null;
    };
    let honest = truth.get(&anchor.id).map(|(mean, count)| (mean.clone(), *count));
    let shown = released.iter().find(|pattern| pattern.id == anchor.id);
    let cosine = honest
        .as_ref()
        .zip(shown)
        .map(|((mean, _), shown)| rounded(f64::from(shown.embedding.cosine(mean))));
    json!({"cluster": anchor.id.0, "honest": honest.map_or(0, |one| one.1), "cosine": cosine})
}

/// What was spent in each year, and what that is as an ε.
fn budget(server: &Server, options: &Options) -> Result<Value, Box<dyn Error>> {
    let settings = &server.settings;
    let mut years = Vec::new();
    let last = server.epoch(options.epochs - 1);
    for year in year_of_epoch(server.epoch(0))..=year_of_epoch(last) {
        let spent = server.runtime.block_on(server.store.spent(Account::Patterns, year))?;
        let delta = settings.year().delta();
        years.push(json!({
            "rho": spent.value(), "epsilon": rounded(spent.epsilon(delta)), "delta": delta,
        }));
    }
    Ok(json!({"patterns": years, "rho_a_year": settings.year_limit().value()}))
}
