"""What a phone keeps: the manifest, the service worker, styles, scripts and icons."""

import re

from budgets import Client


def test_the_service_worker_is_served_at_the_root_and_not_redirected(client: Client) -> None:
    """It may serve what lies beside it, and browsers refuse one that is redirected."""
    response = client.get("/service-worker.js")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/javascript")
    assert response.headers["cache-control"] == "no-cache"
    assert "__" not in re.sub(r"//.*", "", response.text)


def test_all_that_it_keeps_is_there(client: Client) -> None:
    """One file that is missing, and nothing would be kept."""
    worker = client.get("/service-worker.js").text
    kept = set(re.findall(r'"(/[^"]*\.(?:css|js|svg))"', worker))
    assert "/static/budget.css" in kept
    assert "/static/budget.js" in kept
    assert {client.get(path).status_code for path in kept} == {200}


def test_the_manifest_names_the_app(client: Client) -> None:
    """In the language of the visitor."""
    response = client.get("/manifest.webmanifest")
    assert response.headers["content-type"].startswith("application/manifest+json")
    assert response.json()["display"] == "browser"
    for icon in response.json()["icons"]:
        assert client.get(icon["src"]).status_code == 200


def test_styles_are_asked_for_again_by_their_mark(client: Client) -> None:
    """They may be kept, and a new one is seen at once."""
    response = client.get("/static/budget.css")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/css")
    assert response.headers["cache-control"] == "no-cache"
    assert client.get("/static/budget.css", headers={"if-none-match": response.headers["etag"]}).status_code == 304
