//! What a device takes back is erased, whatever else its request asks for and however that fares.

use super::*;

impl Home {
    /// One request about taste alone, of the household `home`'s TV.
    async fn request(&self, scope: &str, request: &Request<'_>) -> Vec<u8> {
        let bearer = format!("authorization: Bearer {}\r\n", token("home", scope));
        let answer = self.sync(&bearer, &request.encode()).await;
        assert_eq!(answer.status, 200, "{scope}");
        answer.binary
    }

    async fn waiting(&self) -> Vec<String> {
        let own = self.own("home").await;
        let waiting = own["waiting"].as_array().unwrap().iter();
        waiting.map(|one| one["pattern"].as_str().unwrap().to_owned()).collect()
    }
}

fn names(ids: &[u128]) -> Vec<String> {
    ids.iter().map(|id| format!("{id:032x}")).collect()
}

fn batch(message: &[u8]) -> Option<Batch<'_>> {
    Some(Batch { number: 7, message })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_goes_whatever_becomes_of_the_batch() {
    let home = home().await;
    let (tables, next) = (home.tables(), pattern(1, 9));
    let own: Vec<Pattern> = (1..=6).map(|id| pattern(id, id as u64)).collect();
    assert_eq!(home.bring("home", &own).await, Taken::Taken);
    let unknown = pattern(1, 10);
    let on_a_base = [Outgoing { pattern: &next, base: Some(&unknown) }];
    let on_a_base = encode(&tables, Floor::default(), &on_a_base).unwrap().bytes;
    let whole = encode(&tables, Floor::default(), &[Outgoing { pattern: &next, base: None }]);
    let whole = whole.unwrap().bytes;
    let mut other = whole.clone();
    // The tables' id follows the message's version.
    other[1] ^= 1;
    let cases = [
        (2, "read write", &other[..], Taken::OtherTables),
        (3, "read write", &on_a_base[..], Taken::BaseUnknown),
        (4, "read write", &whole[..3], Taken::Invalid),
        (5, "read", &whole[..], Taken::Invalid),
    ];
    for (id, scope, message, taken) in cases {
        let gone = vec![PatternId(id)];
        let request = Request { gone, batch: batch(message), ..request(&tables) };
        let answer = home.request(scope, &request).await;
        let told = Told::decode(&answer).unwrap();
        assert_eq!(told.receipt.unwrap().taken, taken, "{id}");
        assert_eq!(told.outcome, Outcome::Ok, "{id}");
        assert!(!home.waiting().await.contains(&names(&[id])[0]), "{taken:?}");
    }
    assert_eq!(home.waiting().await, names(&[1, 6]));
    let gone = vec![PatternId(6)];
    home.request("read", &Request { gone, ..request(&tables) }).await;
    assert_eq!(home.waiting().await, names(&[1]), "without a batch");
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_erased_is_not_called_erased() {
    let home = home().await;
    let tables = home.tables();
    assert_eq!(home.bring("home", &[pattern(1, 1), pattern(2, 2)]).await, Taken::Taken);
    let gone = Request { gone: vec![PatternId(1)], ..request(&tables) };
    let out = Request { opted_out: true, ..request(&tables) };
    home.intruder().lose_waiting();
    for request in [&gone, &out] {
        let answer = home.request("read write", request).await;
        let told = Told::decode(&answer).unwrap();
        assert!(matches!(told.outcome, Outcome::RateLimited(1..)), "{told:?}");
    }
    home.intruder().find_waiting();
    let answer = home.request("read write", &gone).await;
    assert_eq!(Told::decode(&answer).unwrap().outcome, Outcome::Ok);
    assert_eq!(home.waiting().await, names(&[2]));
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_news_a_device_keeps_what_it_knows() {
    let home = open_home().await;
    let tables = home.tables();
    let answer = home.request("read write", &request(&tables)).await;
    let epoch = Told::decode(&answer).unwrap().epoch;
    let first = pattern(1, 1);
    let first = encode(&tables, Floor::default(), &[Outgoing { pattern: &first, base: None }]);
    let first = first.unwrap().bytes;
    // A list that can't be read.
    home.intruder().garble_trends();
    // Its receipt is told, with the epoch that its bases are of.
    let known = Known { version: 3, titles: 4, trends: 5 };
    let bringing = Request { batch: batch(&first), known, ..request(&tables) };
    let answer = home.request("read write", &bringing).await;
    let told = Told::decode(&answer).unwrap();
    assert_eq!(told.receipt.unwrap().taken, Taken::Taken);
    assert_eq!((told.epoch, told.known, told.tables), (epoch, known, tables.id()));
    assert!(told.not_private && !told.full, "{told:?}");
    let answer = home.request("read write", &request(&tables)).await;
    let told = Told::decode(&answer).unwrap();
    assert!(matches!(told.outcome, Outcome::RateLimited(1..)), "{told:?}");
    home.intruder().lose_trends();
    assert_eq!(home.waiting().await, names(&[1]));
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_no_part_needs_no_permission_and_taking_part_again_does() {
    let home = home().await;
    let tables = home.tables();
    assert_eq!(home.bring("home", &[pattern(1, 1)]).await, Taken::Taken);
    let out = Request { opted_out: true, ..request(&tables) };
    home.request("read", &out).await;
    assert_eq!(home.waiting().await, names(&[]));
    assert_eq!(home.began("one").await, 0);
    home.request("read", &request(&tables)).await;
    assert_eq!(home.began("two").await, 0, "reading is no permission to take part");
    home.request("read write", &request(&tables)).await;
    assert_eq!(home.began("three").await, 1);
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_upload_brings_no_erased_household_back() {
    let home = home().await;
    let tables = home.tables();
    assert_eq!(home.bring("home", &[pattern(1, 1)]).await, Taken::Taken);
    let erase = async || {
        let bearer = format!("Bearer {}", token("home", "write control"));
        let headers = [("authorization", &*bearer)];
        home.ask("DELETE /api/v1/household?confirm=erase", &headers, "").await.status
    };
    assert_eq!(erase().await, 200);
    let late =
        encode(&tables, Floor::default(), &[Outgoing { pattern: &pattern(1, 2), base: None }]);
    let late = late.unwrap().bytes;
    let answer =
        home.request("read write", &Request { batch: batch(&late), ..request(&tables) }).await;
    assert_eq!(Told::decode(&answer).unwrap().receipt.unwrap().taken, Taken::Later);
    assert_eq!(home.waiting().await, names(&[]));
    assert_eq!(home.bring("home", &[pattern(1, 3)]).await, Taken::Taken, "it begins anew");
    assert_eq!(home.waiting().await, names(&[1]));
    home.server.stop().await.unwrap();
}
