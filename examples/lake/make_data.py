"""Makes data/raw/orders: three days of a shop's orders, as its web shop wrote them. Always the same."""

import json
import random
from datetime import datetime, timedelta
from pathlib import Path

FOLDER = Path(__file__).parent / "data/raw/orders"
GOODS = {
    "anvil": "49.90",
    "bicycle": "389.00",
    "desk lamp": "24.95",
    "hammock": "61.50",
    "juicer": "79.00",
    "tent for two": "128.75",
    "umbrella": "12.10",
}
PEOPLE = [
    ("Ada", "GB", "London"),
    ("Chidi", "NG", "Lagos"),
    ("Elif", "TR", "İzmir"),
    ("Goran", "HR", "Split"),
    ("Ines", "PT", "Porto"),
    ("Kaoru", "JP", "Ōsaka"),
    ("Mateo", "AR", "Rosario"),
    ("Zoë", "NL", "Delft"),
]

dice = random.Random(7)
number = 1000
for day in range(3):
    start = datetime(2026, 11, 1) + timedelta(days=day)
    lines = []
    for second in sorted(dice.sample(range(86_400), 40)):
        number += 1
        person = dice.randrange(len(PEOPLE))
        name, country, city = PEOPLE[person]
        items = [
            {"sku": sku, "quantity": dice.randint(1, 4), "price": GOODS[sku]}
            for sku in dice.sample(sorted(GOODS), dice.randint(1, 3))
        ]
        order = {
            "order_id": number,
            "placed_at": (start + timedelta(seconds=second)).isoformat() + "Z",
            "customer": {
                "id": person + 1,
                "name": name,
                "address": {"city": city, "country": country},
            },
            "items": items,
        }
        if dice.random() < 0.2:
            order["coupon"] = "AUTUMN"
        lines.append(json.dumps(order, ensure_ascii=False))
    if day == 1:
        # The web shop was restarted in the middle of a line.
        lines.insert(20, lines[20][:70])
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = "".join(line + "\n" for line in lines)
    (FOLDER / f"{start:%Y-%m-%d}.ndjson").write_text(text, encoding="utf-8")
