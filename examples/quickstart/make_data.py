#!/usr/bin/env python3
"""Makes the quickstart's tables: always the same rows, for four weeks of a small retailer.

Most sales meet an inventory row of the same day, store and product; some days have several
transactions of one product, some have none, and a few sales have no inventory row at all.
"""

import csv
import datetime
import pathlib
import random

START = datetime.date(2026, 1, 4)  # a Sunday
DAYS = 28
STORES = ["Harbour Road", "Old Mill", "Station", "West Gate"]
PRODUCTS = [
    ("Oat milk 1 l", "Fields", "Drinks", "Plant milk"),
    ("Apple juice 1 l", "Orchard", "Drinks", "Juice"),
    ("Sparkling water 0.5 l", "Spring", "Drinks", "Water"),
    ("Rye bread 750 g", "Baker's", "Food", "Bread"),
    ("Cheddar 200 g", "Dale", "Food", "Cheese"),
    ("Tomato soup 400 g", "Pot & Ladle", "Food", "Soup"),
    ('Candle "Amber"', "Glow", "Home", "Candles"),
    ("Dish soap, lemon", "Clear", "Home", "Cleaning"),
]
DAY_NAMES = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]


def cents(value):
    """A whole number of cents as an exact decimal."""
    sign = "-" if value < 0 else ""
    return f"{sign}{abs(value) // 100}.{abs(value) % 100:02}"


def calendar():
    yield ["cal_dt", "cal_type_desc", "day_of_wk_num", "day_of_wk_desc", "yr_num", "wk_num",
           "yr_wk_num", "mnth_num", "yr_mnth_num", "qtr_num", "yr_qtr_num"]
    for day in range(DAYS):
        date = START + datetime.timedelta(days=day)
        week = day // 7 + 1
        quarter = (date.month - 1) // 3 + 1
        yield [date, "Fiscal", day % 7, DAY_NAMES[day % 7], date.year, week,
               date.year * 100 + week, date.month, date.year * 100 + date.month,
               quarter, date.year * 10 + quarter]


def product():
    yield ["prod_key", "prod_name", "vol", "wgt", "brand_name", "status_code",
           "status_code_name", "category_key", "category_name", "subcategory_key",
           "subcategory_name"]
    for key, (name, brand, category, subcategory) in enumerate(PRODUCTS, 1):
        yield [key, name, cents(50 * key), cents(75 * key), brand, 1, "Active",
               1 + ["Drinks", "Food", "Home"].index(category), category, 10 + key, subcategory]


def store():
    yield ["store_key", "store_num", "store_desc", "addr", "city", "region", "cntry_cd",
           "cntry_nm", "postal_zip_cd", "prov_state_desc", "prov_state_cd", "store_type_cd",
           "store_type_desc", "frnchs_flg", "store_size", "market_key", "market_name",
           "submarket_key", "submarket_name", "latitude", "longitude"]
    for key, name in enumerate(STORES, 1):
        yield [key, f"S{key:03}", name, f"{key} {name}", "Tidewater", "North", "XX", "Exampleland",
               f"0{key}20", "Coast", "CO", "C", "Corner shop", str(key % 2 == 0).lower(),
               f"{200 + 37 * key}.500", 1, "Coast", 10 + key, name, f"{50 + key}.123456",
               f"-{key}.654321"]


def sales(rng):
    yield ["trans_id", "prod_key", "store_key", "trans_dt", "trans_time", "sales_qty",
           "sales_price", "sales_amt", "discount", "sales_cost", "sales_mgrn", "ship_cost"]
    number = 0
    for day in range(DAYS):
        date = START + datetime.timedelta(days=day)
        for store_key in range(1, len(STORES) + 1):
            for prod_key in range(1, len(PRODUCTS) + 1):
                for _ in range(rng.choice([0, 1, 1, 2, 3])):
                    number += 1
                    quantity = rng.randint(1, 12)
                    price = 149 + 83 * prod_key + rng.randint(-20, 20)
                    amount = quantity * price
                    discount = amount // 20 if rng.random() < 0.2 else 0
                    cost = amount * 6 // 10
                    shipping = rng.choice([0, 0, 99])
                    yield [number, prod_key, store_key, date, rng.randint(8, 20),
                           cents(quantity * 100), cents(price), cents(amount - discount),
                           cents(discount), cents(cost), cents(amount - discount - cost),
                           cents(shipping)]


def inventory(rng):
    yield ["cal_dt", "store_key", "prod_key", "inventory_on_hand_qty",
           "inventory_on_order_qty", "out_of_stock_flg", "waste_qty", "promotion_flg",
           "next_delivery_dt"]
    for day in range(DAYS):
        date = START + datetime.timedelta(days=day)
        for store_key in range(1, len(STORES) + 1):
            for prod_key in range(1, len(PRODUCTS) + 1):
                if rng.random() < 0.03:
                    continue
                out = rng.random() < 0.06
                on_hand = 0 if out else rng.randint(1, 60)
                delivery = date + datetime.timedelta(days=rng.randint(1, 6))
                yield [date, store_key, prod_key, cents(on_hand * 100),
                       cents(rng.randint(0, 40) * 100), int(out), cents(rng.randint(0, 300)),
                       str(rng.random() < 0.1).lower(), delivery if rng.random() < 0.8 else ""]


def main():
    folder = pathlib.Path(__file__).parent / "data"
    folder.mkdir(exist_ok=True)
    tables = {
        "calendar": calendar(),
        "product": product(),
        "store": store(),
        "sales": sales(random.Random(1)),
        "inventory": inventory(random.Random(2)),
    }
    for name, rows in tables.items():
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
