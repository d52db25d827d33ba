use super::*;

fn request(batch: Option<Batch<'_>>) -> Request<'_> {
    Request {
        opted_out: false,
        wants_titles: true,
        known: Known { version: 7, titles: 300, trends: 1 },
        position: 0,
        tables: 0xaabb_ccdd,
        answer_bytes: ANSWER_BYTES,
        gone: Vec::new(),
        batch,
    }
}

fn answer<'a>() -> Answer<'a> {
    let genre = Genre::new("drama").expect("valid");
    let content = ContentId::new("tmdb:550").expect("valid");
    let message = &[1, 2, 3][..];
    Answer {
        outcome: Outcome::Conflict,
        full: true,
        more: true,
        not_private: true,
        known: Known { version: 8, titles: 301, trends: 2 },
        next: 40,
        epoch: 3,
        tables: 5,
        receipt: Some(Receipt { number: 1, taken: Taken::BaseUnknown }),
        patterns: Some(message),
        removed: vec![PatternId(u128::MAX - 1)],
        trends: Some(Trends {
            region: "DE".into(),
            until_ms: 1_800_000_000_000,
            list: vec![Trend { content: content.clone(), genre, score: 1_500 }],
        }),
        titles: Some(Titles { contents: vec![content], message }),
    }
}

#[test]
fn requests_and_answers_come_back_and_no_part_of_them_is_read() {
    let batch = Batch { number: 3, message: &[7; 9] };
    for batch in [None, Some(batch)] {
        let gone = batch.iter().map(|_| PatternId(5)).collect();
        let request = Request { gone, ..request(batch) };
        let bytes = request.encode();
        assert!(is_request(&bytes) && !is_answer(&bytes));
        assert_eq!(Request::decode(&bytes), Ok(request));
        assert!((0..bytes.len()).all(|length| Request::decode(&bytes[..length]).is_err()));
    }
    let limited = Answer { outcome: Outcome::RateLimited(60), ..Answer::default() };
    for answer in [Answer::default(), limited, answer()] {
        let bytes = answer.encode();
        assert!(is_answer(&bytes) && !is_request(&bytes));
        assert_eq!(Answer::decode(&bytes), Ok(answer));
        assert!((0..bytes.len()).all(|length| Answer::decode(&bytes[..length]).is_err()));
    }
    let nothing = Answer::default().encode();
    assert_eq!(nothing.len(), 12, "an answer without news");
}

#[test]
fn what_is_beyond_a_bound_is_refused() {
    for (cap, fits) in [
        (CAP_BYTES_MIN - 1, false),
        (CAP_BYTES_MIN, true),
        (CAP_BYTES_MAX, true),
        (CAP_BYTES_MAX + 1, false),
    ] {
        let request = Request { answer_bytes: cap, ..request(None) };
        assert_eq!(Request::decode(&request.encode()).is_ok(), fits, "{cap}");
    }
    let long = vec![0; CAP_BYTES_MAX as usize + 1];
    let bytes = request(Some(Batch { number: 0, message: &long })).encode();
    assert_eq!(Request::decode(&bytes), Err(DecodeError::limit("CAP_BYTES_MAX")));
    let gone = vec![PatternId(1); ANSWER_LISTED_MAX + 1];
    let bytes = Request { gone, ..request(None) }.encode();
    assert_eq!(Request::decode(&bytes), Err(DecodeError::limit("ANSWER_LISTED_MAX")));
    let mut many = answer();
    many.removed = vec![PatternId(1); ANSWER_LISTED_MAX + 1];
    assert_eq!(Answer::decode(&many.encode()), Err(DecodeError::limit("ANSWER_LISTED_MAX")));
    let mut many = answer();
    let trends = many.trends.as_mut().expect("some");
    trends.list = vec![trends.list[0].clone(); TRENDS_MAX + 1];
    assert_eq!(Answer::decode(&many.encode()), Err(DecodeError::limit("TRENDS_MAX")));
    let mut long = answer();
    long.trends.as_mut().expect("some").region = "x".repeat(REGION_NAME_BYTES_MAX + 1);
    assert_eq!(Answer::decode(&long.encode()), Err(DecodeError::limit("REGION_NAME_BYTES_MAX")));
}
