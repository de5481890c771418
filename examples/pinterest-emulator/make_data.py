#!/usr/bin/env python3
"""Makes pinterest.sql: posts, places and users, the same number of rows each. Always the same.

The row of one number in each table belongs to one event: who posted what, where and when. As in the
data that this follows, some descriptions, titles and images are filler texts, and followers are
counted in thousands and millions.
"""

import datetime
import pathlib
import random
import uuid

ROWS = 600
CATEGORIES = ["art", "beauty", "christmas", "education", "finance", "home-decor", "quotes",
              "tattoos", "travel", "vehicles"]
COUNTRIES = ["Albania", "Bolivia", "Côte d'Ivoire", "Denmark", "Fiji", "Iceland", "Norway"]
FIRST = ["Ada", "Chidi", "Elif", "Goran", "Inês", "Kaoru", "Mateo", "Zoë"]
LAST = ["Baker", "Eze", "Kaya", "Marić", "O'Neill", "Silva", "Tanaka", "Vos"]

TABLES = """\
CREATE TABLE pinterest_data (
    `index` BIGINT,
    unique_id VARCHAR(36),
    title TEXT,
    description TEXT,
    poster_name TEXT,
    follower_count TEXT,
    tag_list TEXT,
    is_image_or_video TEXT,
    image_src TEXT,
    downloaded BIGINT,
    save_location TEXT,
    category TEXT
);
CREATE TABLE geolocation_data (
    ind BIGINT,
    timestamp DATETIME,
    latitude DOUBLE,
    longitude DOUBLE,
    country TEXT
);
CREATE TABLE user_data (
    ind BIGINT,
    first_name TEXT,
    last_name TEXT,
    age BIGINT,
    date_joined DATETIME
);
"""


def moment(dice, first, last):
    begin = datetime.datetime(first, 1, 1)
    span = datetime.datetime(last, 12, 31) - begin
    return begin + datetime.timedelta(seconds=dice.randrange(int(span.total_seconds())))


def post(dice, number):
    category = dice.choice(CATEGORIES)
    if dice.random() < 0.1:
        return [number, str(uuid.UUID(int=dice.getrandbits(128), version=4)),
                "No Title Data Available", "No description available Story format",
                "User Info Error", "User Info Error", "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e",
                "multi-video(story page format)", "Image src error.", 0,
                f"Local save in /data/{category}", category]
    followers = dice.choice([str(dice.randrange(1000)), f"{dice.randint(1, 900)}k",
                             f"{dice.randint(1, 9)}M"])
    return [number, str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            f"{dice.randint(3, 50)} ideas for {category}",
            f"What we love about {category} – and why “{dice.choice(FIRST)}” agrees",
            f"{dice.choice(FIRST)} {dice.choice(LAST)}", followers,
            f"{category},ideas,{dice.choice(CATEGORIES)}", "image",
            f"https://i.example.com/originals/{dice.getrandbits(64):016x}.jpg", 1,
            f"Local save in /data/{category}", category]


def place(dice, number):
    return [number, moment(dice, 2018, 2022), round(dice.uniform(-90, 90), 4),
            round(dice.uniform(-180, 180), 4), dice.choice(COUNTRIES)]


def user(dice, number):
    return [number, dice.choice(FIRST), dice.choice(LAST), dice.randint(18, 70),
            moment(dice, 2015, 2020)]


def literal(value):
    if isinstance(value, int | float):
        return str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def main():
    dice = random.Random(100)
    numbers = sorted(dice.sample(range(11_000), ROWS))
    tables = {"pinterest_data": post, "geolocation_data": place, "user_data": user}
    file = pathlib.Path(__file__).parent / "pinterest.sql"
    with open(file, "w", encoding="utf-8", newline="\n") as out:
        out.write("-- Made by make_data.py.\n\n")
        out.write("CREATE DATABASE pinterest CHARACTER SET utf8mb4;\nUSE pinterest;\n\n")
        out.write(TABLES)
        for name, row in tables.items():
            lines = (f"({','.join(map(literal, row(dice, number)))})" for number in numbers)
            values = ",\n".join(lines)
            out.write(f"\nINSERT INTO {name} VALUES\n{values};\n")


if __name__ == "__main__":
    main()
