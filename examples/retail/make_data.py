#!/usr/bin/env python3
"""Makes shop.sql: five tables of a retailer for six weeks, around a turn of the year. Always the same.

As in a real shop: no table has a key; some days have several transactions of one product, some have
none; goods come back (negative quantities), sometimes as many as were sold; a few sales have no
stock level, or no amounts; names have quotes, commas and accents.
"""

import datetime
import pathlib
import random

START = datetime.date(2025, 12, 7)  # a Sunday
DAYS = 42
STORES = [
    ("Harbour Road", "Tidewater", False),
    ("Old Mill", "Tidewater", True),
    ("Station", "Ærøskøbing", False),
    ("West Gate, upper floor", "Zürich", None),
]
PRODUCTS = [
    ("Oat milk 1 l", "Fields", "Drinks", "Plant milk"),
    ("Apple juice 1 l", "Orchard", "Drinks", "Juice"),
    ("Rye bread 750 g", "Baker's", "Food", "Bread"),
    ("Gruyère, 200 g", "Dale", "Food", "Cheese"),
    ('Candle "Amber"', "Glow", "Home", "Candles"),
    ("Dish soap\\lemon", "Clear", "Home", "Cleaning"),
    ("Kite 🪁", None, "Home", "Toys"),
]
DAY_NAMES = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

TABLES = """\
CREATE TABLE sales (
    trans_id INT,
    prod_key INT,
    store_key INT,
    trans_dt DATE,
    trans_time INT,
    sales_qty DECIMAL(38,2),
    sales_price DECIMAL(38,2),
    sales_amt DECIMAL(38,2),
    discount DECIMAL(38,2),
    sales_cost DECIMAL(38,2),
    sales_mgrn DECIMAL(38,2),
    ship_cost DECIMAL(38,2)
);
CREATE TABLE inventory (
    cal_dt DATE,
    store_key INT,
    prod_key INT,
    inventory_on_hand_qty DECIMAL(38,2),
    inventory_on_order_qty DECIMAL(38,2),
    out_of_stock_flg INT,
    waste_qty DECIMAL(38,2),
    promotion_flg BOOLEAN,
    next_delivery_dt DATE
);
CREATE TABLE calendar (
    cal_dt DATE NOT NULL,
    cal_type_desc VARCHAR(20),
    day_of_wk_num VARCHAR(30),
    day_of_wk_desc VARCHAR(30),
    yr_num INT,
    wk_num INT,
    yr_wk_num INT,
    mnth_num INT,
    yr_mnth_num INT,
    qtr_num INT,
    yr_qtr_num INT
);
CREATE TABLE product (
    prod_key INT,
    prod_name VARCHAR(255),
    vol DECIMAL(38,2),
    wgt DECIMAL(38,2),
    brand_name VARCHAR(255),
    status_code INT,
    status_code_name VARCHAR(255),
    category_key INT,
    category_name VARCHAR(255),
    subcategory_key INT,
    subcategory_name VARCHAR(255)
);
CREATE TABLE store (
    store_key INT,
    store_num VARCHAR(30),
    store_desc VARCHAR(150),
    addr VARCHAR(500),
    city VARCHAR(50),
    region VARCHAR(100),
    cntry_cd VARCHAR(30),
    cntry_nm VARCHAR(150),
    postal_zip_cd VARCHAR(10),
    prov_state_desc VARCHAR(30),
    prov_state_cd VARCHAR(30),
    store_type_cd VARCHAR(30),
    store_type_desc VARCHAR(150),
    frnchs_flg BOOLEAN,
    store_size DECIMAL(19,3),
    market_key INT,
    market_name VARCHAR(150),
    submarket_key INT,
    submarket_name VARCHAR(150),
    latitude DECIMAL(19,6),
    longitude DECIMAL(19,6)
);
"""


class Exact(str):
    """A number with its digits."""


def cents(value):
    """A whole number of cents as an exact decimal."""
    sign = "-" if value < 0 else ""
    return Exact(f"{sign}{abs(value) // 100}.{abs(value) % 100:02}")


def calendar():
    for day in range(DAYS):
        date = START + datetime.timedelta(days=day)
        # Weeks begin on Sundays; the one with the first of January is the year's first.
        saturday = date + datetime.timedelta(days=6 - day % 7)
        week = (saturday.timetuple().tm_yday - 1) // 7 + 1
        quarter = (date.month - 1) // 3 + 1
        yield [date, "Fiscal", str(day % 7), DAY_NAMES[day % 7], saturday.year, week,
               saturday.year * 100 + week, date.month, date.year * 100 + date.month,
               quarter, date.year * 10 + quarter]


def product():
    categories = ["Drinks", "Food", "Home"]
    for key, (name, brand, category, subcategory) in enumerate(PRODUCTS, 1):
        yield [key, name, cents(50 * key), cents(75 * key), brand, 1, "Active",
               1 + categories.index(category), category, 10 + key, subcategory]


def store():
    for key, (name, city, franchise) in enumerate(STORES, 1):
        yield [key, f"S{key:03}", name, f"{key} {name}", city, "North", "XX", "Exampleland",
               f"0{key}20", "Coast", "CO", "C", "Corner shop", franchise,
               Exact(f"{200 + 37 * key}.500"), 1, "Coast", 10 + key, name,
               Exact(f"{50 + key}.123456"), Exact(f"-{key}.654321")]


def returned(day, store_key, prod_key):
    """Whether this is the week, store and product of which all that was sold came back."""
    return day < 7 and store_key == 1 and prod_key == len(PRODUCTS)


def sales(dice):
    number = 0
    for day in range(DAYS):
        date = START + datetime.timedelta(days=day)
        for store_key in range(1, len(STORES) + 1):
            for prod_key in range(1, len(PRODUCTS) + 1):
                if returned(day, store_key, prod_key):
                    continue
                for _ in range(dice.choice([0, 1, 1, 2, 3])):
                    number += 1
                    quantity = dice.randint(1, 12)
                    if dice.random() < 0.05:
                        quantity = -quantity
                    price = 149 + 83 * prod_key + dice.randint(-20, 20)
                    amount = quantity * price
                    discount = amount // 20 if dice.random() < 0.2 else 0
                    cost = amount * 6 // 10
                    known = dice.random() > 0.01
                    yield [number, prod_key, store_key, date, dice.randint(8, 20),
                           cents(quantity * 100), cents(price),
                           cents(amount - discount) if known else None,
                           cents(discount) if discount else None, cents(cost),
                           cents(amount - discount - cost) if known else None,
                           cents(dice.choice([0, 0, 99]))]
    date = START + datetime.timedelta(days=3)
    for quantity in (4, -4):
        number += 1
        yield [number, len(PRODUCTS), 1, date, 12, cents(quantity * 100), cents(500),
               cents(quantity * 500), None, cents(quantity * 300), cents(quantity * 200),
               cents(0)]


def inventory(dice):
    for day in range(DAYS):
        date = START + datetime.timedelta(days=day)
        for store_key in range(1, len(STORES) + 1):
            for prod_key in range(1, len(PRODUCTS) + 1):
                if dice.random() < 0.03:
                    continue
                out = dice.random() < 0.06
                on_hand = 0 if out else dice.randint(1, 60)
                delivery = date + datetime.timedelta(days=dice.randint(1, 6))
                yield [date, store_key, prod_key, cents(on_hand * 100),
                       cents(dice.randint(0, 40) * 100) if dice.random() < 0.95 else None,
                       int(out), cents(dice.randint(0, 300)),
                       dice.random() < 0.1, delivery if dice.random() < 0.8 else None]


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, Exact | bool | int):
        return str(value).upper()
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def main():
    dice = random.Random(4)
    tables = {
        "calendar": calendar(),
        "product": product(),
        "store": store(),
        "sales": sales(dice),
        "inventory": inventory(dice),
    }
    file = pathlib.Path(__file__).parent / "shop.sql"
    with open(file, "w", encoding="utf-8", newline="\n") as out:
        out.write("-- Made by make_data.py.\n\n")
        out.write("CREATE DATABASE retail CHARACTER SET utf8mb4;\nUSE retail;\n\n")
        out.write(TABLES)
        for name, rows in tables.items():
            lines = [f"({','.join(map(literal, row))})" for row in rows]
            for start in range(0, len(lines), 500):
                values = ",\n".join(lines[start:start + 500])
                out.write(f"\nINSERT INTO {name} VALUES\n{values};\n")


if __name__ == "__main__":
    main()
